package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

const (
	socketName = "dev.sock"

	// controlLimit bounds one exchange over the socket.
	controlLimit = 5 * time.Second
)

// controlPort lets another terminal speak to a running dev: one line there, one line back.
type controlPort struct {
	listener net.Listener
	serving  sync.WaitGroup
}

// listenControl opens the socket. A socket that is left from a dev that was killed is replaced; no other process can be
// listening there, since running was asked before.
func listenControl(folder string, ask func(line string) (string, error)) (*controlPort, error) {
	path := filepath.Join(folder, socketName)
	_ = os.Remove(path)
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	c := &controlPort{listener: listener}
	c.serving.Go(func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			c.serving.Go(func() { answerControl(connection, ask) })
		}
	})
	return c, nil
}

func answerControl(connection net.Conn, ask func(string) (string, error)) {
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(controlLimit))
	line, err := bufio.NewReader(io.LimitReader(connection, 256)).ReadString('\n')
	if err != nil {
		return // it only checked whether dev runs here
	}
	reply, err := ask(strings.TrimSpace(line))
	if err != nil {
		fmt.Fprintf(connection, "error %v\n", err)
		return
	}
	fmt.Fprintf(connection, "ok %s\n", reply)
}

func (c *controlPort) close() {
	_ = c.listener.Close() // removes the socket too
	c.serving.Wait()
}

// isDevRunning says whether a dev answers in this folder.
func isDevRunning(folder string) bool {
	connection, err := net.DialTimeout("unix", filepath.Join(folder, socketName), controlLimit)
	if err != nil {
		return false
	}
	_ = connection.Close()
	return true
}

// sendDevCommand hands one command to the dev that runs on a folder.
func sendDevCommand(p process, folder, command string) error {
	connection, err := net.DialTimeout("unix", filepath.Join(folder, socketName), controlLimit)
	if err != nil {
		return &hintedError{fmt.Errorf("no profilenode dev runs on %s", folder), "start one with profilenode dev, or name its folder with --data"}
	}
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(controlLimit))
	if _, err := fmt.Fprintln(connection, command); err != nil {
		return fmt.Errorf("speak to dev: %w", err)
	}
	reply, err := bufio.NewReader(connection).ReadString('\n')
	if err != nil {
		return fmt.Errorf("hear from dev: %w", err)
	}
	verdict, text, _ := strings.Cut(strings.TrimSpace(reply), " ")
	if verdict != "ok" {
		return errors.New(text)
	}
	_, err = fmt.Fprintln(p.out, text)
	return err
}
