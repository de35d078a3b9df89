//go:build unix

package sqlitestore_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// The lock that a database in use has on its file, as SQLite's file format says.
const (
	sharedLockStart = 1<<30 + 2
	sharedLockSize  = 510
)

func init() { // the other process: locks are seen by others only
	path := os.Getenv("MXM_LOCKED")
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	lock := syscall.Flock_t{Type: syscall.F_WRLCK, Start: sharedLockStart, Len: sharedLockSize}
	if err == nil {
		err = syscall.FcntlFlock(f.Fd(), syscall.F_GETLK, &lock)
	}
	fmt.Print(lock.Type != syscall.F_UNLCK, err)
	os.Exit(0)
}

// A second Open leaves the first one its locks. Without them another process,
// such as an older sqlite3, takes the log away from under it, and what is
// written then is lost.
func TestOpenedTwiceKeepsItsLocks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	locked := func() string {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "MXM_LOCKED="+path)
		out, err := cmd.Output()
		require.NoError(t, err)
		return string(out)
	}
	open(t, path)
	require.Equal(t, "true <nil>", locked())
	open(t, path)
	require.Equal(t, "true <nil>", locked())
}
