package groups

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/procfs"
)

// workVariable makes the test binary work: "spin" uses a processor, "grow" takes memory without end, "answer" answers lines.
const workVariable = "GROUPS_TEST_WORK"

func TestMain(m *testing.M) {
	switch os.Getenv(workVariable) {
	case "spin":
		for began := time.Now(); time.Since(began) < time.Hour; {
			continue // it is killed before
		}
	case "grow":
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // it is in its group then
		var kept [][]byte
		for {
			block := make([]byte, 1<<20)
			for i := 0; i < len(block); i += 4096 {
				block[i] = 1
			}
			kept = append(kept, block)
			if len(kept) > 1024 {
				os.Exit(3) // nobody stopped it
			}
		}
	case "answer":
		lines := bufio.NewScanner(os.Stdin)
		for lines.Scan() {
			fmt.Println(lines.Text())
		}
		return
	}
	os.Exit(m.Run())
}

// startWork starts a process in a group.
func startWork(t *testing.T, g *Group, work string) (p *exec.Cmd, stdin io.Writer, stdout *bufio.Reader) {
	t.Helper()
	p = exec.Command(os.Args[0])
	p.Env = append(os.Environ(), workVariable+"="+work)
	stdin, err := p.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = g.Thaw()
		_ = p.Process.Kill()
		_ = p.Wait()
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := g.Add(p.Process.Pid); err != nil {
		t.Fatal(err)
	}
	return p, stdin, bufio.NewReader(out)
}

func newTestGroup(t *testing.T, probe func() error) *Group {
	t.Helper()
	if err := probe(); err != nil {
		t.Skipf("not on this machine: %v", err)
	}
	return New(fmt.Sprintf("profilenode-%s-%d", strings.ToLower(t.Name()), os.Getpid()))
}

func TestLimitCPU(t *testing.T) {
	g := newTestGroup(t, ProbeCPU)
	p, _, _ := startWork(t, g, "spin")
	if err := g.LimitCPU(0.1); err != nil {
		t.Fatal(err)
	}
	used := func() float64 {
		process, err := procfs.NewProc(p.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		stat, err := process.Stat()
		if err != nil {
			t.Fatal(err)
		}
		return stat.CPUTime()
	}
	before, began := used(), time.Now()
	time.Sleep(time.Second) // what is measured is how much it uses in a time
	if share := (used() - before) / time.Since(began).Seconds(); share > 0.2 {
		t.Errorf("it used %.2f of a processor, and may use 0.1", share)
	}
	if err := g.LimitCPU(0); err != nil {
		t.Fatal(err)
	}
	for before, deadline := used(), time.Now().Add(20*time.Second); used()-before < 0.5; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it is bounded still")
		}
	}
}

func TestLimitMemory(t *testing.T) {
	g := newTestGroup(t, ProbeMemory)
	p, stdin, _ := startWork(t, g, "grow")
	if err := g.LimitMemory(64 << 20); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(stdin, "go\n"); err != nil {
		t.Fatal(err)
	}
	_ = p.Wait()
	if status := p.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
		t.Errorf("it ended with %v", p.ProcessState)
	}
	if kills, err := g.MemoryKills(); kills != 1 || err != nil {
		t.Errorf("%d killed for want of memory, %v", kills, err)
	}
	if err := g.LimitMemory(0); err != nil {
		t.Error(err)
	}
}

func TestFreezeAndThaw(t *testing.T) {
	g := newTestGroup(t, ProbeFreezer)
	_, stdin, stdout := startWork(t, g, "answer")
	answers := make(chan string)
	go func() {
		for {
			line, err := stdout.ReadString('\n')
			if err != nil {
				return
			}
			answers <- line
		}
	}()
	ask := func() {
		if _, err := io.WriteString(stdin, "x\n"); err != nil {
			t.Fatal(err)
		}
	}
	ask()
	<-answers
	if err := g.Freeze(); err != nil {
		t.Fatal(err)
	}
	if err := g.Freeze(); err == nil {
		t.Error("frozen twice")
	}
	ask()
	select {
	case <-answers:
		t.Error("a frozen process answers")
	case <-time.After(100 * time.Millisecond):
	}
	if err := g.Thaw(); err != nil {
		t.Fatal(err)
	}
	<-answers
}

func TestKillAllEndsFrozenProcesses(t *testing.T) {
	g := newTestGroup(t, ProbeFreezer)
	p, _, stdout := startWork(t, g, "answer")
	if err := g.Freeze(); err != nil {
		t.Fatal(err)
	}
	killed := make(chan error)
	go func() { killed <- g.KillAll() }()
	_, _ = stdout.ReadString('\n') // its end
	_ = p.Wait()
	if err := <-killed; err != nil {
		t.Error(err)
	}
}
