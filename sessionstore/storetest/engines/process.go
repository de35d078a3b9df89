//go:build unix

package engines

import (
	"cmp"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mxmconnect/mxmconnect/internal/testall"
)

const startTimeout = 30 * time.Second

func need(t testing.TB, binary, pkg string) (path string) {
	t.Helper()
	if path = find(binary); path != "" {
		return path
	}
	testall.Missing(t, binary, pkg)
	return ""
}

func find(binary string) string {
	if path, err := exec.LookPath(binary); err == nil {
		return path
	}
	paths, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + binary)
	slices.Sort(paths)
	for _, dir := range []string{"/usr/sbin/", "/usr/local/sbin/", "/usr/local/bin/"} {
		if _, err := os.Stat(dir + binary); err == nil {
			paths = append(paths, dir+binary)
		}
	}
	if len(paths) == 0 {
		return ""
	}
	return paths[len(paths)-1]
}

// Process is a server that a test can kill, stop, pause and start again: with
// its port and its data, as it would be after a crash. Its methods fail the test
// when they do not succeed, and are not for concurrent use.
type Process struct {
	Addr string // host:port

	t     testing.TB
	path  string
	args  []string
	attr  *syscall.SysProcAttr
	ready func() error
	limit int64          // of the size of a file in bytes, or 0
	stop  syscall.Signal // what asks it to shut down; 0: SIGINT

	cmd  *exec.Cmd
	done chan struct{}
	log  logBuffer
}

// Start starts it again, and returns when it answers.
func (p *Process) Start() {
	p.t.Helper()
	var err error
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if p.cmd == nil {
			p.launch()
		}
		if err = p.ready(); err == nil {
			return
		}
		select {
		case <-p.done: // it ended: the port or the data may still be in use by what was killed
			p.cmd = nil
		default:
		}
	}
	p.t.Fatalf("%s does not start: %v\n%s", filepath.Base(p.path), err, p.log.String())
}

func (p *Process) launch() {
	p.t.Helper()
	p.cmd = exec.Command(p.path, p.args...)
	if p.limit > 0 { // with the signal at the limit ignored, writing is an error as on a full disk
		p.cmd = exec.Command("/bin/sh", append([]string{"-c", `trap '' XFSZ && ulimit -f "$0" && exec "$@"`, strconv.FormatInt(p.limit/512, 10), p.path}, p.args...)...)
	}
	p.cmd.SysProcAttr = p.attr
	p.cmd.Dir = os.TempDir()
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	p.cmd.WaitDelay = time.Second
	if err := p.cmd.Start(); err != nil {
		p.t.Fatalf("%s: %v", p.path, err)
	}
	cmd, done := p.cmd, make(chan struct{})
	p.done = done
	go func() {
		defer close(done)
		_ = cmd.Wait()
	}()
}

// Kill kills it as the kernel would: kill -9.
func (p *Process) Kill() { p.t.Helper(); p.end(syscall.SIGKILL) }

// Stop asks it to shut down in good order, and waits until it has.
func (p *Process) Stop() { p.t.Helper(); p.end(cmp.Or(p.stop, syscall.SIGINT)) }

func (p *Process) end(sig syscall.Signal) {
	p.t.Helper()
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGCONT)
	_ = p.cmd.Process.Signal(sig)
	select {
	case <-p.done:
		p.cmd = nil
	case <-time.After(startTimeout):
		_ = p.cmd.Process.Kill()
		p.t.Fatalf("%s does not end on %v\n%s", filepath.Base(p.path), sig, p.log.String())
	}
}

// LimitFiles lets no file of it grow beyond a size in bytes, a multiple of 512,
// from its next Start on. For whom a file cannot grow, the disk is full; and any
// user may set this limit, while a small disk takes a right to mount.
func (p *Process) LimitFiles(size int64) { p.limit = size }

// Pause makes it hang, as a machine does that swaps; Resume ends that.
func (p *Process) Pause() { p.t.Helper(); p.signal(syscall.SIGSTOP) }

// Resume ends a Pause.
func (p *Process) Resume() { p.t.Helper(); p.signal(syscall.SIGCONT) }

func (p *Process) signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatalf("%s: %v", filepath.Base(p.path), err)
	}
}

// freeAddr returns an address that nobody listens on at the moment.
func freeAddr(t testing.TB) (addr, port string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return l.Addr().String(), port
}

// ask sends a line and compares the answer.
func ask(addr, question, answer string) error {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	if _, err := io.WriteString(c, question); err != nil {
		return err
	}
	b := make([]byte, len(answer))
	if _, err := io.ReadFull(c, b); err != nil {
		return err
	}
	if string(b) != answer {
		return fmt.Errorf("it answers %q", b)
	}
	return nil
}

type logBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
