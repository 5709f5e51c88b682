package objectstore

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
)

// mostAnswer is how long an answer may be that is no object's bytes: the SDK holds it whole, and a list of 1000 keys of 1024 bytes
// each takes a quarter of it.
const mostAnswer = 8 << 20

// mostTags is how many tags such an answer may have: a list of 1000 has 24 for each. The SDK makes of the shortest one a hundred bytes and more.
const mostTags = 64 << 10

// What a store names and we say back to it, in bytes; S3's are a quarter of that. An upload keeps the ETag of each of its parts.
const (
	mostETag  = 256
	mostToken = 4 << 10 // of an upload, or of a list's next page
)

// bounded keeps a store from filling our memory with an answer that does not end. Of an object, whoever reads it takes no more than
// it asked for.
type bounded struct{ *http.Client }

// Do implements the SDK's HTTPClient.
func (b bounded) Do(r *http.Request) (*http.Response, error) {
	resp, err := b.Client.Do(r) //nolint:gosec // where to is its dialer's to decide
	if err == nil && (r.Header.Get("Range") == "" || resp.StatusCode/100 != 2) {
		resp.Body = &short{resp.Body, mostAnswer, mostTags}
	}
	return resp, err
}

// short is a body that must end within so many bytes, and so many tags.
type short struct {
	io.ReadCloser
	left int64
	tags int
}

func (s *short) Read(p []byte) (int, error) {
	if s.left <= 0 {
		return 0, fmt.Errorf("objectstore: the answer is longer than %d bytes", int64(mostAnswer))
	}
	n, err := s.ReadCloser.Read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	if s.tags -= bytes.Count(p[:n], []byte("<")); s.tags < 0 {
		s.left = 0
		return 0, fmt.Errorf("objectstore: the answer has more than %d tags", mostTags)
	}
	return n, err
}
