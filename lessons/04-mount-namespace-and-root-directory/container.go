// The runtime once more, in Go, with the standard library alone: what the workshop's program comes to. It does what the
// lesson shows, and leaves out what the runtime checks and mends besides.
//
//	go build -o container container.go
//	sudo ./container pull alpine
//	sudo ./container run alpine /bin/sh
package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

func main() {
	if len(os.Args) < 3 {
		fail(fmt.Errorf("usage: container pull IMAGE | run IMAGE COMMAND"))
	}
	image := os.Args[2]
	switch os.Args[1] {
	case "pull":
		fail(pull(image))
	case "run":
		fail(parent())
	case "child":
		fail(setUpContainer(image))
		fail(runCommand(os.Args[3:]))
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "container:", err)
		os.Exit(1)
	}
}

func rootfs(image string) string {
	return filepath.Join("/fs", image, "rootfs")
}

// step: new-mount-namespace
// parent starts this program again, as the child, in new namespaces, and waits for it.
func parent() error {
	child := exec.Command("/proc/self/exe", append([]string{"child"}, os.Args[2:]...)...)
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | // the list of mounts
			syscall.CLONE_NEWUTS | // the host name
			syscall.CLONE_NEWIPC | // shared memory
			syscall.CLONE_NEWPID, // process numbers
		Pdeathsig: syscall.SIGKILL,
	}
	return child.Run()
}

// step: pull-image
// pull asks a registry for a manifest, and for the layers that it names.
func pull(image string) error {
	fmt.Println("Pulling", image)
	var manifest struct {
		Manifests []struct {
			Digest   string
			Platform struct{ Architecture, OS string }
		}
		Layers []struct{ Digest string }
	}
	if err := askJSON(image, "manifests/latest", &manifest); err != nil {
		return err
	}
	// An index: one manifest for each kind of machine.
	for _, one := range manifest.Manifests {
		if one.Platform.OS == "linux" && one.Platform.Architecture == runtime.GOARCH {
			if err := askJSON(image, "manifests/"+one.Digest, &manifest); err != nil {
				return err
			}
			break
		}
	}
	if err := os.MkdirAll(rootfs(image), 0o755); err != nil {
		return err
	}
	for _, layer := range manifest.Layers {
		body, err := ask(image, "blobs/"+layer.Digest)
		if err != nil {
			return err
		}
		// Not a byte is unpacked before it is known to be the right one.
		if digest := fmt.Sprintf("sha256:%x", sha256.Sum256(body)); digest != layer.Digest {
			return fmt.Errorf("the registry sent %s for %s", digest, layer.Digest)
		}
		tar := exec.Command("tar", "-xz", "-C", rootfs(image))
		tar.Stdin = strings.NewReader(string(body))
		if err := tar.Run(); err != nil {
			return fmt.Errorf("unpack %s: %w", layer.Digest, err)
		}
	}
	fmt.Println("Pulling done")
	return nil
}

func askJSON(image, what string, into any) error {
	body, err := ask(image, what)
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}

func ask(image, what string) ([]byte, error) {
	registry := os.Getenv("NEWROOT_REGISTRY")
	if registry == "" {
		registry = "http://127.0.0.1:5000"
	}
	request, err := http.NewRequest("GET", registry+"/v2/library/"+image+"/"+what, nil)
	if err != nil {
		return nil, err
	}
	for _, kind := range []string{"oci.image.index.v1", "oci.image.manifest.v1",
		"docker.distribution.manifest.list.v2", "docker.distribution.manifest.v2"} {
		request.Header.Add("Accept", "application/vnd."+kind+"+json")
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", request.URL, response.Status)
	}
	return io.ReadAll(response.Body)
}

// step: set-up-container
// setUpContainer is what the child does between new namespaces and a container.
func setUpContainer(image string) error {
	if err := printWorkingDirectory(); err != nil {
		return err
	}
	if err := makePrivate(); err != nil {
		return err
	}
	if os.Getenv("MOUNT") == "proc" {
		if err := mountProc(rootfs(image)); err != nil {
			return err
		}
	}
	change := changeRoot
	if os.Getenv("ROOT") == "pivot" {
		change = pivotRoot
	}
	if err := change(rootfs(image)); err != nil {
		return err
	}
	return printWorkingDirectory()
}

func printWorkingDirectory() error {
	directory, err := os.Getwd()
	if err == nil {
		fmt.Fprintln(os.Stderr, "Working directory:", directory)
	}
	return err
}

// step: propagation
// makePrivate takes all mounts out of the peer groups of their originals.
func makePrivate() error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make all mounts private: %w", err)
	}
	return nil
}

// step: mount-proc
// mountProc mounts a proc file system on the image's /proc. It shows the container's processes.
func mountProc(rootfs string) error {
	target := filepath.Join(rootfs, "proc")
	flags := uintptr(syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC)
	if err := syscall.Mount("proc", target, "proc", flags, ""); err != nil {
		return fmt.Errorf("mount proc on %s: %w", target, err)
	}
	return nil
}

// step: change-root
// changeRoot makes a directory the place where this process's paths start.
func changeRoot(rootfs string) error {
	if err := syscall.Chroot(rootfs); err != nil {
		return fmt.Errorf("chroot to %s: %w", rootfs, err)
	}
	// The working directory is still outside: chroot(2) leaves it alone.
	return os.Chdir("/")
}

// step: pivot-root
// pivotRoot makes a directory the root of the whole mount namespace, and unmounts the old root.
func pivotRoot(rootfs string) error {
	// The new root must be a mount: bound on itself, the directory is one.
	if err := syscall.Mount(rootfs, rootfs, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
		return fmt.Errorf("bind %s: %w", rootfs, err)
	}
	if err := os.Chdir(rootfs); err != nil {
		return err
	}
	// The old root comes to lie on top of the new one, so that the image needs no directory for it.
	if err := syscall.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := syscall.Unmount(".", syscall.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount the old root: %w", err)
	}
	return os.Chdir("/")
}

// step: run-command
// runCommand becomes the command. It comes back only with an error.
func runCommand(command []string) error {
	if len(command) == 0 {
		return fmt.Errorf("no command")
	}
	path := "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	if err := os.Setenv("PATH", strings.TrimPrefix(path, "PATH=")); err != nil {
		return err
	}
	// In PATH, and by now that means: below the new root.
	program, err := exec.LookPath(command[0])
	if err != nil {
		return err
	}
	return syscall.Exec(program, command, []string{path, "HOME=/root", "TERM=" + os.Getenv("TERM")})
}
