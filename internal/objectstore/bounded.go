package objectstore

import (
	"fmt"
	"io"
	"net/http"
)

// mostAnswer is how long an answer may be that is no object's bytes: the SDK holds it whole, and a list of 1000 keys of 1024 bytes
// each takes a quarter of it.
const mostAnswer = 8 << 20

// bounded keeps a store from filling our memory with an answer that does not end. Of an object, whoever reads it takes no more than
// it asked for.
type bounded struct{ *http.Client }

// Do implements the SDK's HTTPClient.
func (b bounded) Do(r *http.Request) (*http.Response, error) {
	resp, err := b.Client.Do(r) //nolint:gosec // where to is its dialer's to decide
	if err == nil && (r.Header.Get("Range") == "" || resp.StatusCode/100 != 2) {
		resp.Body = &short{resp.Body, mostAnswer}
	}
	return resp, err
}

// short is a body that must end within so many bytes.
type short struct {
	io.ReadCloser
	left int64
}

func (s *short) Read(p []byte) (int, error) {
	if s.left <= 0 {
		return 0, fmt.Errorf("objectstore: the answer is longer than %d bytes", int64(mostAnswer))
	}
	n, err := s.ReadCloser.Read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	return n, err
}
