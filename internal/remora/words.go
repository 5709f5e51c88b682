package remora

import (
	"strconv"
	"strings"
)

func sentence(parts ...string) string { return strings.Join(parts, "") }

// Count says how many there are of something.
func Count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}
