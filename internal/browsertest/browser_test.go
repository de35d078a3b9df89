package browsertest

import (
	"bufio"
	"context"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

var screenshots = flag.String("screenshots", "", "a directory to leave pictures in")

const (
	ada = "mxm:100000000000000000001"
	ben = "mxm:100000000000000000002"
)

var built struct {
	once sync.Once
	dir  string
	err  error
}

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if built.dir != "" {
			os.RemoveAll(built.dir)
		}
		os.Exit(code)
	}))
}

// startDemo runs a demo app that works with srv, and returns its URL.
func startDemo(t *testing.T, name string, srv *mxmtest.Server, env ...string) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "browsertest"); built.err != nil {
			return
		}
		cmd := exec.Command("go", "build", "-o", built.dir+"/", "./examples/nethttp", "./examples/gin", "./examples/echo", "./examples/link", "./examples/byosession")
		cmd.Dir = "../.."
		cmd.Stderr = os.Stderr
		built.err = cmd.Run()
	})
	require.NoError(t, built.err)
	cmd := exec.Command(filepath.Join(built.dir, name))
	cmd.Env = append([]string{
		"ADDR=127.0.0.1:0", "MXM_CLIENT_ID=" + mxmtest.DefaultClientID, "MXM_CLIENT_SECRET=" + mxmtest.DefaultClientSecret,
		"MXM_BASE_URL=" + srv.URL, "MXM_API_URL=" + srv.APIURL(),
	}, env...)
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	log := bufio.NewReader(stderr)
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	public := regexp.MustCompile(`https?://[^/\s]+`).FindString(line)
	line, err = log.ReadString('\n')
	require.NoError(t, err)
	local := regexp.MustCompile(`"address":"([^"]+)"`).FindStringSubmatch(line)
	require.Len(t, local, 2, line)
	go func() { _, _ = io.Copy(io.Discard, log) }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	srv.Config(public)
	return "http://" + local[1]
}

func newServer(t *testing.T) *mxmtest.Server {
	srv := mxmtest.NewServer()
	t.Cleanup(srv.Close)
	return srv
}

// browser is a fresh Chromium with one tab.
type browser struct {
	context.Context
	t        *testing.T
	mu       sync.Mutex
	problems []string // what Chromium wrote to its console
}

func openBrowser(t *testing.T) *browser {
	t.Helper()
	path := tool(t, "chromium", "chromium")
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-sync", true),
		chromedp.IgnoreCertErrors, chromedp.WindowSize(900, 760),
	)
	alloc, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	b := &browser{t: t}
	b.Context = b.tab(alloc)
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		require.Empty(t, b.problems, "the console stays empty")
	})
	return b
}

// tab opens a tab in the browser of ctx, and watches its console.
func (b *browser) tab(ctx context.Context) context.Context {
	ctx, cancel := chromedp.NewContext(ctx)
	b.t.Cleanup(cancel)
	require.NoError(b.t, chromedp.Do(ctx)) // opens it, for as long as ctx lives
	require.NoError(b.t, chromedp.Listen(ctx, func(e any) {
		entry, ok := e.(*cdplog.EventEntryAdded)
		if !ok || entry.Entry.Source == "network" { // a status of 401 is one of those
			return
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.problems = append(b.problems, entry.Entry.Text)
	}))
	return ctx
}

type step = chromedp.Action[chromedp.Void]

// in does something in a tab.
func (b *browser) in(tab context.Context, steps ...step) {
	b.t.Helper()
	ask(b, tab, chromedp.Steps(steps...))
}

func (b *browser) do(steps ...step) { b.t.Helper(); b.in(b, steps...) }

// ask does something in a tab and returns what that says.
func ask[T any](b *browser, tab context.Context, what chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(tab, 30*time.Second)
	defer cancel()
	value, err := chromedp.Run(ctx, what)
	require.NoError(b.t, err)
	return value
}

// text is what a person reads in a tab, or "" while the page is loading.
func (b *browser) text(tab context.Context) string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(tab, 5*time.Second)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string]("document.readyState == 'complete' ? document.body.innerText : ''"))
	if err != nil {
		return "" // the page went away while it was asked
	}
	return text
}

// shows waits for a page with this on it.
func (b *browser) shows(tab context.Context, what string) {
	b.t.Helper()
	var text string
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if text = b.text(tab); strings.Contains(text, what) {
			return
		}
	}
	require.Contains(b.t, text, what)
}

// click follows a link or presses a button by what it says.
func click(label string) step {
	return chromedp.Click(`//*[self::a or self::button][normalize-space()="` + label + `"]`)
}

// choose picks a person on the fake's page.
func choose(user string) step { return chromedp.Click(`//input[@value="` + user + `"]`) }

// picture saves the page in light and dark, if pictures are wanted.
func (b *browser) picture(name string) {
	b.t.Helper()
	if *screenshots == "" {
		return
	}
	for _, scheme := range []string{"light", "dark"} {
		b.do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
			_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
			})
			return err
		}))
		require.NoError(b.t, os.WriteFile(filepath.Join(*screenshots, name+"-"+scheme+".png"), ask(b, b, chromedp.FullScreenshot(100)), 0o600))
	}
}
