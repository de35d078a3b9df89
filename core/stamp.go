package core

import (
	"strconv"
	"strings"
)

// stamp is our part of a session: who signed in, until when at the longest, and
// when a request was last seen, to the precision of touchEvery.
type stamp struct {
	user  string
	until int64 // Unix seconds
	seen  int64 // Unix milliseconds: rounded to seconds, a session ended up to one too early
}

func (st stamp) String() string {
	return strconv.FormatInt(st.until, 36) + " " + strconv.FormatInt(st.seen, 36) + " " + st.user
}

func parseStamp(text string) (st stamp, ok bool) {
	until, rest, _ := strings.Cut(text, " ")
	seen, user, ok := strings.Cut(rest, " ")
	if !ok {
		return stamp{}, false
	}
	var err1, err2 error
	st.until, err1 = strconv.ParseInt(until, 36, 64)
	st.seen, err2 = strconv.ParseInt(seen, 36, 64)
	st.user = user
	return st, err1 == nil && err2 == nil && user != ""
}
