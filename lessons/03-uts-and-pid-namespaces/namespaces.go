// A host name and process numbers of its own: the runtime with these namespaces, on the machine's own files.
//
//	go build -o namespaces namespaces.go
//	sudo ./namespaces run /bin/sh
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

func main() {
	if len(os.Args) < 3 {
		fail(fmt.Errorf("usage: namespaces run COMMAND"))
	}
	switch os.Args[1] {
	case "run":
		fail(parent())
	case "child":
		fail(setUpContainer())
		os.Exit(asProcessOne(os.Args[2:]))
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "namespaces:", err)
		os.Exit(1)
	}
}

// step: new-mount-namespace
// parent starts this program again, as the child, in new namespaces, and waits for it.
func parent() error {
	child := exec.Command("/proc/self/exe", append([]string{"child"}, os.Args[2:]...)...)
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUTS | // the host name
			syscall.CLONE_NEWPID | // process numbers
			syscall.CLONE_NEWNS, // mounts, for a /proc of its own
		Pdeathsig: syscall.SIGKILL,
	}
	return child.Run()
}

// step: set-up-container
// setUpContainer is what the child does from the inside: only there it names nobody but itself.
func setUpContainer() error {
	if err := syscall.Sethostname([]byte("box")); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make all mounts private: %w", err)
	}
	return mountProc()
}

// step: mount-proc
// mountProc covers the machine's /proc, in this mount namespace alone, with one that shows this PID namespace.
func mountProc() error {
	flags := uintptr(syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC)
	if err := syscall.Mount("proc", "/proc", "proc", flags, ""); err != nil {
		return fmt.Errorf("mount proc: %w", err)
	}
	return nil
}

// step: init
// asProcessOne stays process 1: it starts the command, and buries all who end, until the command has.
func asProcessOne(command []string) int {
	child := exec.Command(command[0], command[1:]...)
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	fail(child.Start())
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR), err == nil && pid != child.Process.Pid:
			continue
		case err != nil:
			fail(err)
		case status.Signaled():
			return 128 + int(status.Signal())
		}
		return status.ExitStatus()
	}
}
