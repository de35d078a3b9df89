//go:build unix

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// fleet is the instances of the application.
type fleet struct {
	settings   settings
	logs       string // a directory
	musixmatch *musixmatch
	ledger     *ledger
	instances  []*instance
}

// instance is a place where one process after the other runs.
type instance struct {
	index int
	addr  atomic.Value // string: where the process of the moment listens
	busy  sync.Mutex   // held by a fault

	runs  int
	cmd   *exec.Cmd
	stdin io.Closer
	ended chan error
	life  *incarnation
	gate  *gateway
}

const startTimeout = 60 * time.Second

func startFleet(n int, s settings, logs string, m *musixmatch, l *ledger) (*fleet, error) {
	f := &fleet{settings: s, logs: logs, musixmatch: m, ledger: l}
	for i := range n {
		in := &instance{index: i}
		if err := f.start(in); err != nil {
			f.close()
			return nil, err
		}
		f.instances = append(f.instances, in)
	}
	return f, nil
}

// start starts a process where none runs. While the store is away it is tried
// again, as any supervisor would.
func (f *fleet) start(in *instance) (err error) {
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if err = f.launch(in); err == nil {
			return nil
		}
	}
	return fmt.Errorf("instance %d does not start: %w", in.index+1, err)
}

func (f *fleet) launch(in *instance) error {
	in.runs++
	life := f.ledger.born(in.index, in.runs)
	gate, err := f.musixmatch.open(life)
	if err != nil {
		return err
	}
	s := f.settings
	s.Gateway = gate.addr
	told, err := json.Marshal(s)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(f.logs, life.name+".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), variable+"="+string(told))
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // ctrl-C is for us
	stdin, err := cmd.StdinPipe()                         // it ends when we do
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		gate.close()
		return err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		gate.close()
		return errors.New(lastLine(log.Name()))
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	in.cmd, in.stdin, in.ended, in.life, in.gate = cmd, stdin, ended, life, gate
	in.addr.Store(strings.TrimSpace(line))
	return nil
}

func lastLine(file string) string {
	b, _ := os.ReadFile(file)
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1]
}

// kill ends the process as the kernel does, and waits until it has.
func (f *fleet) kill(in *instance) {
	f.ledger.kills(in.life, func() { _ = in.cmd.Process.Kill() })
	<-in.ended
	in.gate.close()
}

// terminate asks the process to end, and returns when it has. It must end well.
func (f *fleet) terminate(in *instance) error {
	_ = in.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-in.ended:
		in.gate.close()
		if err != nil {
			return fmt.Errorf("%s was asked to end: %w", in.life.name, err)
		}
		return nil
	case <-time.After(2*grace + 10*time.Second):
		f.kill(in)
		return fmt.Errorf("%s was asked to end, and did not", in.life.name)
	}
}

// pause stops the process until resume.
func (f *fleet) pause(in *instance) {
	_ = in.cmd.Process.Signal(syscall.SIGSTOP)
	f.ledger.paused(in.life)
}

func (f *fleet) resume(in *instance) {
	f.ledger.resumed(in.life)
	_ = in.cmd.Process.Signal(syscall.SIGCONT)
}

// usage asks the process what it takes.
func (f *fleet) usage(in *instance) (u usageOf, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+in.addr.Load().(string)+"/debug/runtime", nil)
	if err != nil {
		return u, err
	}
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return u, err
	}
	defer res.Body.Close()
	return u, json.NewDecoder(res.Body).Decode(&u)
}

// close ends all processes.
func (f *fleet) close() {
	for _, in := range f.instances {
		_ = in.cmd.Process.Kill()
		<-in.ended
		in.gate.close()
	}
	f.instances = nil
}
