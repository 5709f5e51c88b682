package redact

import (
	"net/url"
	"sort"
	"strings"
)

// Scrubber removes known secrets from text that somebody else wrote, such as the standard error of a child
// process. It is best effort: it finds the secret as it is, percent-encoded, and quoted as SQL or shell
// would quote it, and it cannot find one that was cut in two. So text is scrubbed before it is bounded.
type Scrubber struct{ r *strings.Replacer }

// minimum is the length below which a secret is not searched for: replacing every "a" in a message would
// tell the secret instead of hiding it.
const minimum = 4

// NewScrubber returns a scrubber of the given secrets; empty ones are ignored.
func NewScrubber(secrets ...Secret) *Scrubber {
	forms := map[string]struct{}{}
	for _, s := range secrets {
		plain := s.Reveal()
		if len(plain) < minimum {
			continue
		}
		for _, f := range []string{
			plain, url.QueryEscape(plain), url.PathEscape(plain), url.UserPassword("", plain).String()[1:],
			strings.ReplaceAll(plain, "'", "''"), strings.ReplaceAll(plain, `\`, `\\`),
		} {
			forms[f] = struct{}{}
		}
	}
	longest := make([]string, 0, len(forms))
	for f := range forms {
		longest = append(longest, f)
	}
	sort.Slice(longest, func(i, k int) bool {
		if len(longest[i]) != len(longest[k]) {
			return len(longest[i]) > len(longest[k])
		}
		return longest[i] < longest[k]
	})
	pairs := make([]string, 0, 2*len(longest))
	for _, f := range longest {
		pairs = append(pairs, f, Shown)
	}
	return &Scrubber{r: strings.NewReplacer(pairs...)}
}

// Scrub returns text without the secrets.
func (s *Scrubber) Scrub(text string) string { return s.r.Replace(text) }
