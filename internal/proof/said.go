package proof

import (
	"regexp"
	"strings"
)

// complaint is one error of pg_restore's: what it was about, and the server's words. Details and context are left out,
// since they hold data, and so are values in the words.
type complaint struct{ about, words string }

func (c complaint) String() string {
	if c.about == "" {
		return c.words
	}
	return c.about + ": " + c.words
}

var (
	errorLine = regexp.MustCompile(`^pg_restore: error: (.*)$`)
	execution = regexp.MustCompile(`^could not execute query: ERROR:  `)
	copying   = regexp.MustCompile(`^COPY failed for (table ".*?"): ERROR:  `)
)

// longest is how much of a statement is shown, in bytes.
const longest = 90

// complaints takes pg_restore's standard error apart.
func complaints(said string) (all []complaint) {
	for line := range strings.SplitSeq(said, "\n") {
		if m := errorLine.FindStringSubmatch(line); m != nil {
			c := complaint{words: execution.ReplaceAllString(m[1], "")}
			if m := copying.FindStringSubmatch(c.words); m != nil {
				c = complaint{m[1], c.words[len(m[0]):]}
			}
			c.words = unvalued(c.words)
			all = append(all, c)
		}
		if statement, ok := strings.CutPrefix(line, "Command was: "); ok && len(all) > 0 && all[len(all)-1].about == "" {
			all[len(all)-1].about = short(statement, longest)
		}
	}
	if first, _, _ := strings.Cut(said, "\n"); len(all) == 0 && first != "" { // as where it has no memory left
		all = append(all, complaint{words: short(first, 2*longest)})
	}
	return all
}

// valued is where the server's words have a row's value: at their end, or before what it is not in the range of. Names have
// no colon before them.
var valued = regexp.MustCompile(`(?s)(: )".*|^(value )".*"( is out of range)|^".*"( is out of range)`)

func unvalued(words string) string { return valued.ReplaceAllString(words, `$1$2"…"$3$4`) }

func short(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// impossible are words of errors that say nothing of the archive: only that it cannot be restored here, by whom we let
// restore it.
var impossible = []struct {
	why   string
	words *regexp.Regexp
}{
	{"only a superuser could restore it", regexp.MustCompile(`permission denied|must be superuser|must be owner|[Oo]nly superusers|must have privileges|requires superuser|must be a member`)},
	{"it took more memory, time or disk than one restore may take here", regexp.MustCompile(`out of (?:shared )?memory|temporary file size exceeds|No space left|could not extend file|could not write|File too large|canceling statement|memory exhausted|too many connections|Cannot allocate memory`)},
	{"only a role that passes row security could restore it", regexp.MustCompile(`affected by row-level security policy`)},
	{"roles are in no dump, and something that it holds needs one", regexp.MustCompile(`^role ".*" does not exist`)},
	{"something that it needs is not installed here", regexp.MustCompile(`collation .* does not exist|could not open extension|extension .* is not available|could not access file|could not open .*(?:dictionary|stop-word|synonym|thesaurus) file|could not create locale`)},
}

// ordered are words of errors that come of another order of texts.
var ordered = regexp.MustCompile(`violates (?:partition|check|exclusion) constraint|no partition of relation|could not create exclusion constraint|range lower bound must be|empty range bound|would overlap partition`)

// unprovable tells why an error says nothing of the archive; "" where it does.
func unprovable(c complaint) string {
	for _, x := range impossible {
		if x.words.MatchString(c.words) {
			return x.why
		}
	}
	return ""
}
