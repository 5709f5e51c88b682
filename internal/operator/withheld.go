package operator

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
)

// held keeps an answer until it is known to hold nothing of a customer's.
type held struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (h *held) WriteHeader(status int)      { h.status = status }
func (h *held) Write(b []byte) (int, error) { return h.body.Write(b) }

// withheld takes the words of failed attempts out of what River's pages are told of jobs: they may be a customer's server's,
// with names of tables in them. What a job is about are identifiers.
func withheld(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, Home+"/queue/api/") {
			next.ServeHTTP(w, r)
			return
		}
		h := &held{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(h, r)
		var answer any
		dec := json.NewDecoder(&h.body)
		dec.UseNumber()
		if err := dec.Decode(&answer); err != nil {
			http.Error(w, "River's pages answered something else than JSON", http.StatusBadGateway)
			return
		}
		out, err := json.Marshal(without(answer))
		if err != nil {
			http.Error(w, "River's answer cannot be written", http.StatusBadGateway)
			return
		}
		w.Header().Del("Content-Length")
		w.WriteHeader(h.status)
		_, _ = w.Write(out) // the connection may be gone
	})
}

// without replaces the words of errors, wherever they are.
func without(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, x := range v {
			if s, ok := x.(string); ok && s != "" && (name == "error" || name == "trace") {
				v[name] = "The log has it, by the job's id."
			} else {
				v[name] = without(x)
			}
		}
	case []any:
		for i := range v {
			v[i] = without(v[i])
		}
	}
	return v
}
