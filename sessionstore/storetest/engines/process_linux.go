package engines

import "syscall"

// processAttr makes the kernel end a server whose test was killed.
func processAttr(c *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: c, Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
