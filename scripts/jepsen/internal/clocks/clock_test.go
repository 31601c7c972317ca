package clocks

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"
)

// clockVariable makes the test binary print its clocks for each line of stdin.
const clockVariable = "CLOCKS_TEST_PRINT"

func TestMain(m *testing.M) {
	if os.Getenv(clockVariable) != "" {
		printClocks()
		return
	}
	os.Exit(m.Run())
}

// printClocks prints the wall's time and the time that the monotonic clock counted since the start, while other goroutines read both
// without a pause.
func printClocks() {
	began := time.Now()
	for range 2 {
		go func() {
			for last := time.Duration(0); ; {
				now := time.Since(began)
				if now < last {
					fmt.Printf("0 0 the monotonic clock went back from %v to %v\n", last, now)
					os.Exit(1)
				}
				last = now
				time.Sleep(10 * time.Microsecond)
			}
		}()
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		now := time.Now()
		if part := now.Nanosecond(); part < 0 || part >= 1e9 {
			fmt.Printf("0 0 a second has %d nanoseconds\n", part)
		}
		fmt.Println(now.UnixNano(), int64(now.Sub(began)))
	}
}

// clockProcess is a process that says what its clocks show.
type clockProcess struct {
	t       *testing.T
	command *exec.Cmd
	stdin   io.Writer
	stdout  *bufio.Reader
	behind  time.Duration // its monotonic clock began so much after ours
	began   time.Time
}

func startClockProcess(t *testing.T) *clockProcess {
	t.Helper()
	if err := Probe(); err != nil {
		t.Skipf("clocks cannot be set here: %v", err)
	}
	p := &clockProcess{t: t, command: exec.Command(os.Args[0]), began: time.Now()}
	p.command.Env = append(os.Environ(), clockVariable+"=1")
	p.command.Stderr = os.Stderr
	var err error
	if p.stdin, err = p.command.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := p.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdout = bufio.NewReader(stdout)
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.command.Process.Kill()
		_ = p.command.Wait()
	})
	_, p.behind = p.readClocks()
	p.behind = -p.behind
	return p
}

// readClocks returns by how much the clocks of the process are ahead of ours, the monotonic one since the first call.
func (p *clockProcess) readClocks() (wall, monotonic time.Duration) {
	p.t.Helper()
	if _, err := io.WriteString(p.stdin, "\n"); err != nil {
		p.t.Fatal(err)
	}
	line, err := p.stdout.ReadString('\n')
	if err != nil {
		p.t.Fatal(err)
	}
	var theirs, counted int64
	if n, err := fmt.Sscan(line, &theirs, &counted); n != 2 || theirs == 0 {
		p.t.Fatalf("it said %q: %v", line, err)
	}
	return time.Until(time.Unix(0, theirs)), time.Duration(counted) - time.Since(p.began) + p.behind
}

// check compares the clocks with what they shall show. Between two readings a busy machine may do other things for a while.
func (p *clockProcess) check(what string, wall, monotonic time.Duration) {
	p.t.Helper()
	const tolerance = 2 * time.Second
	gotWall, gotMonotonic := p.readClocks()
	if off := gotWall - wall; off.Abs() > tolerance {
		p.t.Errorf("%s: the wall is %v ahead, want %v", what, gotWall, wall)
	}
	if off := gotMonotonic - monotonic; off.Abs() > tolerance {
		p.t.Errorf("%s: the monotonic clock is %v ahead, want %v", what, gotMonotonic, monotonic)
	}
}

func TestSetClocks(t *testing.T) {
	p := startClockProcess(t)
	c, err := Attach(p.command.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	p.check("attached", 0, 0)
	set := func(wall, monotonic time.Duration) {
		t.Helper()
		if err := c.Set(wall, monotonic); err != nil {
			t.Fatal(err)
		}
		p.check(fmt.Sprintf("set to %v and %v", wall, monotonic), wall, monotonic)
	}
	set(time.Hour, 0)
	set(-10*time.Second-500*time.Millisecond, 0)
	for part := range 10 { // of a second, with whatever part the clock has
		set(-1000*time.Hour-time.Duration(part)*100*time.Millisecond, 0)
	}
	for range 200 { // strobe
		if err := errors.Join(c.SetWall(time.Minute), c.SetWall(-time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	p.check("after a strobe", -time.Minute, 0)
	if err := c.Detach(); err != nil {
		t.Fatal(err)
	}
	p.check("detached", 0, 0)
	if err := c.Set(0, 0); err == nil {
		t.Error("clocks are set after Detach")
	}
}

func TestMonotonicClockOnlyGoesForward(t *testing.T) {
	p := startClockProcess(t)
	c, err := Attach(p.command.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	for range 100 { // ten times as fast
		if err := c.Drift(9, 100*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	p.check("after a drift", 90*time.Second, 90*time.Second)
	if err := c.Drift(-0.5, 20*time.Second); err != nil {
		t.Fatal(err)
	}
	p.check("after a drift back", 80*time.Second, 90*time.Second)
	if err := c.Set(0, time.Second); !errors.Is(err, ErrBackwards) {
		t.Errorf("setting it back: %v", err)
	}
	if err := c.Detach(); err != nil {
		t.Fatal(err)
	}
	p.check("detached", 0, 90*time.Second)
	if c, err = Attach(p.command.Process.Pid); err != nil {
		t.Fatal(err)
	}
	if wall, monotonic := c.Offsets(); wall != 0 || monotonic != 90*time.Second {
		t.Errorf("attached again: %v and %v ahead", wall, monotonic)
	}
	p.check("attached again", 0, 90*time.Second)
}

func TestAttachToOthers(t *testing.T) {
	p := startClockProcess(t)
	c, err := Attach(p.command.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.command.Wait()
	if err := c.Set(time.Second, 0); err == nil {
		t.Error("the clocks of a process that has ended are set")
	}
	if err := c.Detach(); err != nil {
		t.Errorf("detach from a process that has ended: %v", err)
	}
	if _, err := Attach(p.command.Process.Pid); err == nil {
		t.Error("attached to a process that has ended")
	}
}
