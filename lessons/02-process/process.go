// A program that starts itself again, becomes a command, and hands on how that ended: the runtime without any namespace.
//
//	go build -o process process.go
//	./process run /bin/sh -c 'exit 7'; echo $?
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
		fail(fmt.Errorf("usage: process run COMMAND"))
	}
	switch os.Args[1] {
	case "run":
		err := parent()
		var ended *exec.ExitError
		if errors.As(err, &ended) {
			os.Exit(exitStatus(ended.Sys().(syscall.WaitStatus)))
		}
		fail(err)
	case "child":
		fail(runCommand(os.Args[2:]))
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "process:", err)
		os.Exit(125)
	}
}

// step: start-again
// parent starts this program again, as the child, and waits for it.
func parent() error {
	child := exec.Command("/proc/self/exe", append([]string{"child"}, os.Args[2:]...)...)
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	// Without its parent nobody would wait for it.
	child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return child.Run()
}

// step: exit-status
// exitStatus makes one number of both ways to end, as shells do.
func exitStatus(status syscall.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// step: run-command
// runCommand becomes the command. It comes back only with an error.
func runCommand(command []string) error {
	program, err := exec.LookPath(command[0])
	if err != nil {
		return err
	}
	return syscall.Exec(program, command, os.Environ())
}
