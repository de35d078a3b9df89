package examples_test

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// binaries are the examples, built when first asked for.
type binaries struct {
	once sync.Once
	dir  string
	err  error
}

var plain, racing binaries

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "6"); err != nil { // they mostly wait for processes
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		for _, b := range []*binaries{&plain, &racing} {
			if b.dir != "" {
				os.RemoveAll(b.dir)
			}
		}
		os.Exit(code)
	}))
}

func (b *binaries) build(flags ...string) {
	if b.dir, b.err = os.MkdirTemp("", "examples"); b.err != nil {
		return
	}
	args := append([]string{"build", "-o", b.dir + "/"}, flags...)
	if out, err := exec.Command("go", append(args, "./...")...).CombinedOutput(); err != nil {
		b.err = fmt.Errorf("%w: %s", err, out)
	}
}

// binary returns the path of an example, which is built as the test is. With
// SQLite it does without the race detector, under which that driver, C made
// into Go, is so slow that a test measures nothing else.
func binary(t testing.TB, name string, env []string) string {
	t.Helper()
	b, flags := &plain, []string(nil)
	sqlite := slices.ContainsFunc(env, func(v string) bool { return strings.HasPrefix(v, "MXM_STORE=sqlite:") })
	if race && !sqlite {
		b, flags = &racing, []string{"-race"}
	}
	b.once.Do(func() { b.build(flags...) })
	require.NoError(t, b.err)
	return filepath.Join(b.dir, name)
}

// process is a running example.
type process struct {
	URL    string // where it says it is to be opened
	cmd    *exec.Cmd
	stderr lockedBuffer
	done   chan struct{} // closed when it has ended
	t      testing.TB
}

var opened = regexp.MustCompile(`https?://[^/\s]+`)

// command prepares an example with an environment of its own.
func command(t testing.TB, name string, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(binary(t, name, env))
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "ADDR=127.0.0.1:0"}, env...)
	return cmd
}

// start runs an example and waits until it says where it can be opened.
func start(t testing.TB, name string, env ...string) *process {
	t.Helper()
	p := &process{cmd: command(t, name, env...), done: make(chan struct{}), t: t}
	p.cmd.Stderr = &p.stderr
	stdout, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	line, _ := bufio.NewReader(stdout).ReadString('\n')
	go func() {
		_, _ = io.Copy(io.Discard, stdout)
		_ = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		require.NotContains(t, p.stderr.String(), "DATA RACE")
		require.NotContains(t, p.stderr.String(), "panic")
		if t.Failed() {
			t.Logf("%s said:\n%s", name, tail(p.stderr.String(), 4000))
		}
	})
	p.URL = opened.FindString(line)
	require.NotEmpty(t, p.URL, "it does not say what to open: %s", &p.stderr)
	return p
}

// stop ends the process with SIGTERM and returns its exit status.
func (p *process) stop() int {
	p.t.Helper()
	p.terminate()
	return p.wait()
}

func (p *process) terminate() {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(syscall.SIGTERM))
}

func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(60 * time.Second):
		require.FailNow(p.t, "the process does not end")
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// kill is kill -9.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func tail(text string, n int) string { return text[max(0, len(text)-n):] }

// eventually waits for something that another process does.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if condition() {
			return
		}
	}
	require.FailNow(t, "never: "+what)
}

// answer is a response that has been read.
type answer struct {
	*http.Response
	body string
}

func read(t testing.TB, res *http.Response, err error) answer {
	t.Helper()
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return answer{res, string(body)}
}

func (a answer) code() string {
	_, code, _ := strings.Cut(a.body, `{"error":"`)
	code, _, _ = strings.Cut(code, `"`)
	return code
}
