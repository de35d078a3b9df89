//go:build unix

package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/mxmconnect/mxmconnect/internal/testall"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest/engines"
)

const asCommand = "SOAK_TEST_COMMAND"

// The test binary is the command, too, and its instances.
func TestMain(m *testing.M) {
	if isInstance() || os.Getenv(asCommand) != "" {
		main()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// command is the command with these flags.
func command(t *testing.T, flags string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), os.Args[0], strings.Fields(flags)...)
	cmd.Env = append(os.Environ(), asCommand+"=1")
	return cmd
}

// soak runs it here, so that a test can look at the ledger.
func soak(t *testing.T, flags string) *report {
	t.Helper()
	testall.Long(t)
	var out bytes.Buffer
	o, err := parse(strings.Fields(flags), &out)
	require.NoError(t, err, out.String())
	r, err := run(t.Context(), o, &out)
	require.NoError(t, err)
	r.print(&out)
	t.Logf("soak %s\n%s", flags, &out)
	return r
}

// Every sum of the ledger is that of its parts, and the ledger agrees with what
// Musixmatch says of every user in the end.
func TestSums(t *testing.T) {
	r := soak(t, "-store memory -instances 1 -users 60 -for 9s -pace 400ms -life 5s -refresh-timeout 1s -faults lost=700ms,fail=500ms,slow=300ms,late=2s,reset=700ms -seed 1")
	require.Empty(t, r.verdicts())
	c := r.counts
	require.Equal(t, c["requests"], r.sum("answer "))
	require.Equal(t, c["refresh requests"], c["rotations"]+c["not carried out"]+r.sum("refused: "))
	require.Equal(t, c["rotations"], c["answers sent"]+c["answers lost by a fault"]+c["answers for which nobody was there"])
	require.Equal(t, r.sum("spent: "), c["refused: invalid_grant"])
	require.GreaterOrEqual(t, c["fault lost"], c["answers lost by a fault"], "the others were refusals")
	require.Equal(t, c["fault fail"]+c["fault reset"], c["not carried out"])
	require.Equal(t, r.o.users, c["users served in the end"])
	require.Equal(t, len(r.losses), r.lost(true)+r.lost(false))

	require.Positive(t, c["rotations"])
	require.Positive(t, c["sign-outs"])
	require.Positive(t, c["answer abandoned"])
	require.Positive(t, r.lost(true), "a lost answer costs a login")
	require.LessOrEqual(t, r.lost(true), c["answers lost by a fault"]+c["late answers"])
	require.Positive(t, c["late answers"])
	require.LessOrEqual(t, c["late answers read"]+r.because(lateBlind), c["late answers"])
	require.Zero(t, c["failed outside of every fault's time"])
}

// A run that counts refreshes is good if each took one request.
func TestOneRequestForEachRefresh(t *testing.T) {
	for _, c := range []struct{ requests, rotations, verdicts int }{{10, 10, 0}, {11, 11, 0}, {11, 10, 1}, {9, 9, 1}} {
		r := &report{o: options{refreshes: 10}, counts: map[string]int{"refresh requests": c.requests, "rotations": c.rotations}, health: &health{}}
		require.Len(t, r.verdicts(), c.verdicts, "%+v", c)
	}
}

// Instances that overwrite each other's records lose users, and are convicted.
func TestMutantIsConvicted(t *testing.T) {
	testall.Long(t)
	cmd := command(t, "-store sqlite -instances 2 -users 60 -for 9s -pace 300ms -life 5s -refresh-timeout 1s -faults none -mutant lastwrite -seed 1")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, string(out))
	require.Equal(t, 1, exit.ExitCode(), string(out))
	require.Regexp(t, `ABOVE THE FLOOR: mxm:\d+ must connect again, seed 1: \d\.1 presented a spent token while \d\.1 had the answer`, string(out))
	require.Regexp(t, `presents f\d+ r<2, which is spent`, string(out), "the timeline says how it came")
	require.Contains(t, string(out), "losses above the floor")
	require.Contains(t, string(out), "spent tokens presented, and nothing explains it")
}

// Without the mutation the same run loses nobody.
func TestTwoInstances(t *testing.T) {
	r := soak(t, "-store sqlite -instances 2 -users 60 -for 9s -pace 300ms -life 5s -refresh-timeout 1s -faults none -seed 1")
	require.Empty(t, r.verdicts())
	require.Empty(t, r.losses)
	require.Zero(t, r.sum("spent: "))
	require.Positive(t, r.counts["rotations"])
}

// Instances and their store are killed and restarted. What a kill costs is at the
// floor, and nothing else is lost.
func TestKillsOnRedis(t *testing.T) {
	engines.StartRedis(t).Kill() // skips the test where there is none
	r := soak(t, "-instances 3 -users 90 -for 12s -pace 300ms -life 5s -refresh-timeout 1s -faults kill=300ms,term=3s,cut=3s,crash=6s,slow=20ms -seed 1")
	require.Empty(t, r.verdicts())
	require.Equal(t, r.o.users, r.counts["users served in the end"])
	for _, k := range []kind{kill, term, cut, crash} {
		require.Positive(t, r.counts["fault "+string(k)], k)
	}
	require.Positive(t, r.counts["refreshes that a kill may have met"])
	require.LessOrEqual(t, r.lost(true), r.counts["refreshes that a kill may have met"])
}

func TestCtrlC(t *testing.T) {
	var out bytes.Buffer
	cmd := command(t, "-store memory -instances 1 -users 5 -for 1h -pace 100ms")
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Start())
	time.Sleep(2 * time.Second)
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	require.NoError(t, cmd.Wait(), "%s", &out)
	require.Contains(t, out.String(), "ABOVE THE FLOOR")
	require.Contains(t, out.String(), "Good: ")
}

func TestFlags(t *testing.T) {
	for flags, complaint := range map[string]string{
		"x":                          "no arguments",
		"-instances 0":               "-instances must",
		"-instances many":            "-instances",
		"-users 0":                   "-users must",
		"-refreshes -1":              "-refreshes must",
		"-for 1":                     "-for",
		"-for 1ms":                   "-for must",
		"-pace 0":                    "-pace must",
		"-refresh-timeout 1ms":       "-refresh-timeout must",
		"-idle-timeout 1s":           "-idle-timeout must",
		"-life 1s":                   "-life must",
		"-heap 0":                    "-heap must",
		"-progress 0":                "-progress must",
		"-mutant x":                  "-mutant knows lastwrite",
		"-store memory -instances 2": "-instances must be 1",
		"-store x":                   "-store must",
		"-store http://localhost":    "-store must",
		"-faults kill,x":             `no fault "x"`,
		"-faults kill=x":             "kill=x is not a duration",
		"-y":                         "-y",
	} {
		var out bytes.Buffer
		_, err := parse(strings.Fields(flags), &out)
		require.Error(t, err, flags)
		require.Contains(t, out.String(), complaint, flags)
		require.Equal(t, 2, strings.Count(out.String(), "\n"), "%s: %s", flags, &out)
	}
	o, err := parse(strings.Fields("-faults stop=7s,kill,cut -store redis://localhost:1/0"), &bytes.Buffer{})
	require.NoError(t, err)
	require.Equal(t, map[kind]time.Duration{stop: 7 * time.Second, kill: 20 * time.Second}, o.faults, "a store that was lent is not harmed")
	require.NotZero(t, o.seed)

	out, err := command(t, "-h").CombinedOutput()
	require.NoError(t, err)
	require.LessOrEqual(t, strings.Count(string(out), "\n"), 40, "a screen")
	out, err = command(t, "-store x").CombinedOutput()
	require.ErrorContains(t, err, "exit status 2", string(out))
}
