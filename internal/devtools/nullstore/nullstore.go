// Package nullstore is an S3 server over TLS that keeps sizes and checksums and throws the bytes away, so that
// what is measured through it is the client. It can be as far away, and as slow for each connection, as is wished.
package nullstore

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"encoding/xml"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Config of a server.
type Config struct {
	Latency time.Duration // before each answer
	Rate    int           // bytes a second that each connection takes; 0 is as many as come
}

// Server is a running server.
type Server struct {
	URL  string // https://127.0.0.1:PORT
	Cert []byte // PEM, to be trusted by clients

	cfg   Config
	http  *http.Server
	ended chan struct{}
	bytes atomic.Int64
	seq   atomic.Int64

	mu      sync.Mutex
	objects map[string]object
	uploads map[string]*upload
}

type object struct {
	size   int64
	header http.Header // what is said of it when it is asked for
}

type upload struct {
	header http.Header
	parts  map[string]int64
}

// Start starts a server on loopback. The caller closes it.
func Start(cfg Config) (*Server, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	s := &Server{
		URL: "https://" + l.Addr().String(), Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), cfg: cfg,
		ended: make(chan struct{}), objects: map[string]object{}, uploads: map[string]*upload{},
	}
	s.http = &http.Server{
		Handler: s, ReadHeaderTimeout: 5 * time.Second,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12},
		// HTTP/1.1, as S3 speaks it: each part on its way has a connection of its own.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	go func() {
		defer close(s.ended)
		_ = s.http.ServeTLS(l, "", "") // until it is closed
	}()
	return s, nil
}

// Close ends the server.
func (s *Server) Close() error {
	err := s.http.Close()
	<-s.ended
	return err
}

// Bytes is how much of objects came in since it was asked last.
func (s *Server) Bytes() int64 { return s.bytes.Swap(0) }

// ServeHTTP implements the few calls that writing an object takes.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	size, err := s.take(r)
	time.Sleep(s.cfg.Latency)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	q := r.URL.Query()
	id := q.Get("uploadId")
	switch {
	case r.Method == http.MethodPost && q.Has("uploads"):
		id = strconv.FormatInt(s.seq.Add(1), 10)
		s.uploads[id] = &upload{header: kept(r.Header), parts: map[string]int64{}}
		answer(w, "InitiateMultipartUploadResult", "<UploadId>"+id+"</UploadId>")
	case id != "" && s.uploads[id] == nil:
		w.WriteHeader(http.StatusNotFound)
	case r.Method == http.MethodPut && id != "":
		s.bytes.Add(size)
		s.uploads[id].parts[q.Get("partNumber")] = size
		w.Header().Set("ETag", `"`+q.Get("partNumber")+`"`)
	case r.Method == http.MethodPost && id != "":
		u := s.uploads[id]
		o := object{header: u.header}
		for _, n := range u.parts {
			o.size += n
		}
		inner := `<ETag>"whole"</ETag>`
		if crc := r.Header.Get("X-Amz-Checksum-Crc32"); crc != "" {
			o.header.Set("X-Amz-Checksum-Crc32", crc)
			o.header.Set("X-Amz-Checksum-Type", "FULL_OBJECT")
			inner += "<ChecksumCRC32>" + crc + "</ChecksumCRC32><ChecksumType>FULL_OBJECT</ChecksumType>"
		}
		s.objects[r.URL.Path] = o
		delete(s.uploads, id)
		answer(w, "CompleteMultipartUploadResult", inner)
	case r.Method == http.MethodGet && q.Has("uploads"): // whether one that was just ended is still there
		answer(w, "ListMultipartUploadsResult", "<IsTruncated>false</IsTruncated>")
	case r.Method == http.MethodDelete:
		delete(s.uploads, id)
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPut:
		s.bytes.Add(size)
		s.objects[r.URL.Path] = object{size, kept(r.Header)}
		w.Header().Set("ETag", `"whole"`)
		if crc := r.Header.Get("X-Amz-Checksum-Crc32"); crc != "" {
			w.Header().Set("X-Amz-Checksum-Crc32", crc)
		}
	case r.Method == http.MethodHead:
		o, ok := s.objects[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		for k, v := range o.header {
			w.Header()[k] = v
		}
		w.Header().Set("Content-Length", strconv.FormatInt(o.size, 10))
		w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
		w.Header().Set("ETag", `"whole"`)
	default:
		w.WriteHeader(http.StatusNotImplemented)
	}
}

func answer(w http.ResponseWriter, name, inner string) {
	_, _ = io.WriteString(w, xml.Header+"<"+name+">"+inner+"</"+name+">")
}

// kept are the headers that an object is asked for later.
func kept(in http.Header) http.Header {
	out := http.Header{}
	for k, v := range in {
		if strings.HasPrefix(k, "X-Amz-Meta-") || k == "X-Amz-Checksum-Crc32" {
			out[k] = v
		}
	}
	return out
}

// take reads a body at the server's pace and returns how long its content is.
func (s *Server) take(r *http.Request) (int64, error) {
	var from io.Reader = r.Body
	if s.cfg.Rate > 0 {
		from = &paced{r: r.Body, rate: s.cfg.Rate, start: time.Now()}
	}
	n, err := io.Copy(io.Discard, from)
	if decoded := r.Header.Get("X-Amz-Decoded-Content-Length"); decoded != "" {
		n, _ = strconv.ParseInt(decoded, 10, 64)
	}
	return n, err
}

type paced struct {
	r     io.Reader
	rate  int
	start time.Time
	n     int64
}

func (p *paced) Read(b []byte) (int, error) {
	n, err := p.r.Read(b[:min(len(b), 64<<10)])
	p.n += int64(n)
	time.Sleep(time.Until(p.start.Add(time.Duration(float64(p.n) / float64(p.rate) * float64(time.Second)))))
	return n, err
}
