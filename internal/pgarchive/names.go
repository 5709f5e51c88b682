package pgarchive

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
)

// Raw are names as an archive has them, kept where they are not UTF-8 as they stand.
type Raw struct {
	Schema  []byte   `json:"schema"`
	Name    []byte   `json:"name"`
	Columns [][]byte `json:"columns,omitempty"`
	Via     []byte   `json:"via,omitempty"`
	// Unreadable tells that the names beside it are not them, since their encoding is not known or they are not of it:
	// U+FFFD stands there for what could not be read.
	Unreadable bool `json:"unreadable,omitempty"`
}

func (r *Raw) or(schema, name string) (string, string) {
	if r == nil {
		return schema, name
	}
	return string(r.Schema), string(r.Name)
}

// encodings are those of PostgreSQL that the Go team keeps too. There are none for EUC_TW, EUC_JIS_2004, SHIFT_JIS_2004,
// JOHAB and MULE_INTERNAL, and SQL_ASCII is whatever somebody took it for.
var encodings = map[string]encoding.Encoding{
	"LATIN1": charmap.ISO8859_1, "LATIN2": charmap.ISO8859_2, "LATIN3": charmap.ISO8859_3, "LATIN4": charmap.ISO8859_4,
	"LATIN5": charmap.ISO8859_9, "LATIN6": charmap.ISO8859_10, "LATIN7": charmap.ISO8859_13, "LATIN8": charmap.ISO8859_14,
	"LATIN9": charmap.ISO8859_15, "LATIN10": charmap.ISO8859_16, "ISO_8859_5": charmap.ISO8859_5, "ISO_8859_6": charmap.ISO8859_6,
	"ISO_8859_7": charmap.ISO8859_7, "ISO_8859_8": charmap.ISO8859_8, "KOI8R": charmap.KOI8R, "KOI8U": charmap.KOI8U,
	"WIN866": charmap.CodePage866, "WIN874": charmap.Windows874, "WIN1250": charmap.Windows1250, "WIN1251": charmap.Windows1251,
	"WIN1252": charmap.Windows1252, "WIN1253": charmap.Windows1253, "WIN1254": charmap.Windows1254, "WIN1255": charmap.Windows1255,
	"WIN1256": charmap.Windows1256, "WIN1257": charmap.Windows1257, "WIN1258": charmap.Windows1258, "EUC_JP": japanese.EUCJP,
	"SJIS": japanese.ShiftJIS, "EUC_KR": korean.EUCKR, "UHC": korean.EUCKR, "EUC_CN": simplifiedchinese.GBK, "GBK": simplifiedchinese.GBK,
	"GB18030": simplifiedchinese.GB18030, "BIG5": traditionalchinese.Big5,
}

// readable is a name in UTF-8. Where that cannot be made so that the name could be made of it again, ok is false and
// U+FFFD stands for what cannot be read.
func readable(name, raw string) (s string, ok bool) {
	e, known := encodings[name]
	if known && !ascii(raw) {
		s, err := e.NewDecoder().String(raw)
		if err == nil && !strings.ContainsRune(s, utf8.RuneError) {
			if back, err := e.NewEncoder().String(s); err == nil && back == raw {
				return s, true
			}
		}
	}
	ok = utf8.ValidString(raw) && (!known || ascii(raw))
	return strings.ToValidUTF8(raw, "\uFFFD"), ok
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// reader makes names readable and remembers what came of it.
type reader struct {
	encoding      string
	changed, lost bool
}

func (r *reader) read(raw string) string {
	s, ok := readable(r.encoding, raw)
	r.changed = r.changed || s != raw
	r.lost = r.lost || !ok
	return s
}

// readable is a table that was found by the archive's own names.
func (t Table) readable(encoding string) Table {
	r := reader{encoding: encoding}
	raw := &Raw{Schema: []byte(t.Schema), Name: []byte(t.Name)}
	if t.Via != "" {
		raw.Via = []byte(t.Via)
	}
	t.Schema, t.Name, t.Via = r.read(t.Schema), r.read(t.Name), r.read(t.Via)
	columns := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		raw.Columns = append(raw.Columns, []byte(c))
		columns[i] = r.read(c)
	}
	if r.changed || r.lost {
		t.Columns, t.Raw, raw.Unreadable = columns, raw, r.lost
	}
	return t
}

// readable is a sequence that was found by the archive's own names.
func (s Sequence) readable(encoding string) Sequence {
	r := reader{encoding: encoding}
	raw := &Raw{Schema: []byte(s.Schema), Name: []byte(s.Name)}
	s.Schema, s.Name = r.read(s.Schema), r.read(s.Name)
	if r.changed || r.lost {
		s.Raw, raw.Unreadable = raw, r.lost
	}
	return s
}
