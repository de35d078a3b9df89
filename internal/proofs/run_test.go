package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func read(t *testing.T, stream string) (*run, string) {
	t.Helper()
	var out strings.Builder
	r := newRun(&out)
	require.NoError(t, r.read(strings.NewReader(stream)))
	return r, out.String()
}

const passes = `{"Action":"start","Package":"p"}
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"a log line\n"}
{"Action":"pass","Package":"p","Test":"TestA/sub"}
{"Action":"pass","Package":"p","Test":"TestA","Elapsed":0.1}
{"Action":"output","Package":"p","Output":"PASS\n"}
{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}
{"Action":"pass","Package":"p"}
`

func TestWhatPassesIsQuiet(t *testing.T) {
	r, out := read(t, passes)
	require.Equal(t, "ok  \tp\t0.1s\n", out)
	require.False(t, r.failed)
	require.Empty(t, r.unproved("| a promise | [`TestA`](a_test.go) | BenchmarkB |"))
}

func TestWhatFailsIsPrinted(t *testing.T) {
	for name, stream := range map[string]string{
		"test": `{"Action":"output","Package":"p","Test":"TestA","Output":"why\n"}
{"Action":"fail","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}
{"Action":"fail","Package":"p"}`,
		"panic": `{"Action":"output","Package":"p","Test":"TestA","Output":"why\n"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}
{"Action":"fail","Package":"p"}`,
		"build": `{"ImportPath":"p","Action":"build-output","Output":"why\n"}
{"ImportPath":"p","Action":"build-fail"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t[build failed]\n"}
{"Action":"fail","Package":"p","FailedBuild":"p"}`,
		"leak": `{"Action":"output","Package":"p","Output":"why\n"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}
{"Action":"fail","Package":"p"}`,
	} {
		r, out := read(t, stream)
		require.True(t, r.failed, name)
		require.Contains(t, out, "why\n", name)
		require.Contains(t, out, "FAIL\tp", name)
		require.NotEmpty(t, r.unproved("TestA"), name)
	}
}

func TestASkippedProofIsNone(t *testing.T) {
	const skips = `{"Action":"skip","Package":"p","Test":"TestA"}` + "\n"
	r, _ := read(t, skips)
	require.Equal(t, []string{"TestA did not pass", "TestA of p was skipped"}, r.unproved("`TestA`"))
	r, _ = read(t, skips+passes)
	require.Empty(t, r.unproved("`TestA`"), "it passed in a later run")
	r, _ = read(t, passes+skips)
	require.Empty(t, r.unproved("`TestA`"), "it passed in an earlier run")
	r, _ = read(t, passes+`{"Action":"skip","Package":"p","Test":"TestA/engine"}`)
	require.Equal(t, []string{"TestA/engine of p was skipped"}, r.unproved("`TestA`"))
	require.Equal(t, []string{"TestZ did not pass"}, r.unproved("`TestZ`"))
	r, _ = read(t, "")
	require.Equal(t, []string{"TestA did not pass"}, r.unproved("`TestA`"))
}
