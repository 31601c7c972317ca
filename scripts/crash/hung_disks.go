//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/profilenode/profilenode/api/profilev1"
)

const (
	// Bounds of docs/operate.md. Those on a recovery have three times as long here: the machine may be busy.
	notReadyWithin = 2 * time.Second
	leadWithin     = 3 * 10 * time.Second
	portsWithin    = 3 * time.Second // from the line that says that the node stops
	reportedFor    = 30 * time.Second
	reportSlack    = 5 * time.Second

	stayFor    = 8 * time.Second // more than disk-hang-limit
	exitFailed = 1               // the exit code of profilenode serve for a disk that hangs
	hangText   = "the disk does not answer"
)

// hangTimes are the longest times of a run, from the hang of a leader's disk on.
type hangTimes struct {
	NotReadyMS int64 `json:"not_ready_ms"` // until its /readyz said so
	LedMS      int64 `json:"led_ms"`       // until another node led
	SavedMS    int64 `json:"saved_ms"`     // until saves went on
	Stopped    int   `json:"stopped"`      // leaders that stopped; the others handed over
	StayedMS   int64 `json:"stayed_ms"`    // from the end of the hang, where the leader stayed, until saves went on
}

func (h hangTimes) String() string {
	const text = "not ready within %.1f s, another led within %.1f s, saves went on within %.1f s, %d leaders stopped; " +
		"one that stayed saved %.1f s after the hang"
	return fmt.Sprintf(text,
		float64(h.NotReadyMS)/1000, float64(h.LedMS)/1000, float64(h.SavedMS)/1000, h.Stopped, float64(h.StayedMS)/1000)
}

func noteLongest(longest *int64, since time.Time) {
	*longest = max(*longest, time.Since(since).Milliseconds())
}

func hangActs() []crashAct {
	return []crashAct{
		{"disk of the leader hangs while saving", 1, (*crashRun).hangWhileSaving},
		{"disk of the leader hangs while idle", 1, (*crashRun).hangWhileIdle},
	}
}

// hangWhileSaving lets a leader's disk hang under saves. While that node is away, the next leader's disk hangs:
// it stays.
func (t *crashRun) hangWhileSaving(ctx context.Context) error {
	return t.withGame(ctx, func(g *game) error {
		n, err := t.nodeInRole(ctx, true)
		if err != nil {
			return err
		}
		return t.withFrozenDisk(n, func(from int64, began time.Time) error {
			if err := t.awaitNextLeader(ctx, n, began); err != nil {
				return err
			}
			if err := t.awaitSaves(ctx, began, &t.result.Hangs.SavedMS); err != nil {
				return err
			}
			if err := g.check(ctx); err != nil {
				return err
			}
			stopped, err := t.awaitStop(ctx, n, from)
			if err != nil {
				return err
			}
			return runInTurn(
				func() error { return t.hangAndStay(ctx, n) },
				func() error { return n.awaitEndOfReport(ctx, stopped) },
				n.disk.Thaw,
				func() error { return awaitFailedExit(ctx, t, n) },
				n.startProcess,
			)
		})
	})
}

// hangWhileIdle lets a leader's disk hang while nothing is written. Raft does not wait for the disk then, so the node hands
// over and runs on.
func (t *crashRun) hangWhileIdle(ctx context.Context) error {
	return t.withGame(ctx, func(g *game) error {
		n, err := t.nodeInRole(ctx, true)
		if err != nil {
			return err
		}
		resume := sync.OnceFunc(func() {
			g.gate.Unlock()
			t.writers.gate.Unlock()
		})
		t.writers.gate.Lock()
		g.gate.Lock()
		defer resume()
		return t.withFrozenDisk(n, func(from int64, began time.Time) error {
			if err := t.awaitNextLeader(ctx, n, began); err != nil {
				return err
			}
			resume()
			if err := t.awaitSaves(ctx, began, &t.result.Hangs.SavedMS); err != nil {
				return err
			}
			if n.logSince(from).lastOf(codeDiskHangs) < 0 {
				return fmt.Errorf("%s gave up its leadership, and its log does not have %s", n.name, codeDiskHangs)
			}
			stops := n.logSince(from).lastOf(codeStops) >= 0
			if err := runInTurn(func() error { return g.check(ctx) }, n.disk.Thaw); err != nil || !stops {
				return err
			}
			t.result.Hangs.Stopped++
			return runInTurn(n.Kill, n.startProcess)
		})
	})
}

// hangAndStay lets the leader's disk hang while the node that is away makes it a majority's: it stays, and says why.
func (t *crashRun) hangAndStay(ctx context.Context, away *nodeProcess) error {
	n, before := t.cluster.findLeader(ctx)
	if n == nil || n == away {
		return fmt.Errorf("no other node than %s leads", away.name)
	}
	return t.withFrozenDisk(n, func(from int64, began time.Time) error {
		if err := n.awaitNotReady(ctx, began, &t.result.Hangs.NotReadyMS); err != nil {
			return err
		}
		text := ""
		if err := t.waitWithin(ctx, stayFor, n.name+" to say why it stays", func() bool {
			text = n.alarmText(ctx, codeDiskHangs)
			return strings.Contains(text, "leads and stays")
		}); err != nil {
			return fmt.Errorf("%w: its alarm says %q", err, text)
		}
		pollFor(ctx, time.Until(began.Add(stayFor)), func() bool { return false })
		if err := n.disk.Thaw(); err != nil {
			return err
		}
		if err := t.awaitSaves(ctx, time.Now(), &t.result.Hangs.StayedMS); err != nil {
			return err
		}
		if now, after := t.cluster.findLeader(ctx); now != n || after.GetTerm() != before.GetTerm() {
			return fmt.Errorf("%s led in term %d; after its disk had hung for %v the leader's term is %d",
				n.name, before.GetTerm(), stayFor, after.GetTerm())
		}
		return t.waitWithin(ctx, fullWait, "the alarm of "+n.name+" to end", func() bool {
			return !n.hasAlarm(ctx, codeDiskHangs)
		})
	})
}

// withGame checks that no session of a game server ends during an act, and that the store holds all values that were acknowledged to it.
// The writers are tools, which do not renew: the cluster may take them for gone.
func (t *crashRun) withGame(ctx context.Context, act func(g *game) error) error {
	g, err := startGame(ctx, t.cluster)
	if err != nil {
		return err
	}
	defer g.stop()
	return runInTurn(
		func() error { return t.waitForSaves(ctx) }, func() error { return act(g) },
		func() error { return t.cluster.waitCaughtUp(ctx, t.settings.caughtUp) }, func() error { return g.check(ctx) },
	)
}

// withFrozenDisk runs act while a node's disk hangs, from a place of its log on and from a time on.
func (t *crashRun) withFrozenDisk(n *nodeProcess, act func(from int64, began time.Time) error) error {
	if err := n.disk.Sync(); err != nil { // a freeze syncs, and shall not take long
		return err
	}
	n.mayEnd = true
	defer func() { n.mayEnd = false }()
	from := n.logBytes()
	if err := n.disk.Freeze(); err != nil {
		return err
	}
	began := time.Now()
	return errors.Join(act(from, began), n.disk.Thaw())
}

// awaitNextLeader waits until the node on the hung disk says that it is not ready, and then until another one leads.
func (t *crashRun) awaitNextLeader(ctx context.Context, hung *nodeProcess, began time.Time) error {
	if err := hung.awaitNotReady(ctx, began, &t.result.Hangs.NotReadyMS); err != nil {
		return err
	}
	if err := t.waitWithin(ctx, time.Until(began.Add(leadWithin)), "another to lead than "+hung.name, func() bool {
		for _, n := range t.cluster.nodes {
			if n == hung {
				continue
			}
			if s, err := n.askStatus(ctx); err == nil && s.GetState() == "leader" {
				return true
			}
		}
		return false
	}); err != nil {
		return err
	}
	noteLongest(&t.result.Hangs.LedMS, began)
	return nil
}

func (t *crashRun) awaitSaves(ctx context.Context, since time.Time, longest *int64) error {
	want := t.writers.acked.Load() + 50
	err := t.waitWithin(ctx, leadWithin, "saves to go on", func() bool { return t.writers.acked.Load() >= want })
	noteLongest(longest, since)
	return err
}

// awaitStop waits until the node on the hung disk has said that it stops, its ports are closed, and its probes have the
// reason. It returns the time at which the node said so.
func (t *crashRun) awaitStop(ctx context.Context, n *nodeProcess, from int64) (stopped time.Time, err error) {
	if err := t.waitWithin(ctx, leadWithin, n.name+" to stop", func() bool {
		return n.logSince(from).lastOf(codeStops) >= 0
	}); err != nil {
		return time.Time{}, err
	}
	log := n.logSince(from)
	place := log.lastOf(codeStops)
	if cause := fieldOf(log.lineAt(place), "cause"); cause != codeDiskHangs {
		return time.Time{}, fmt.Errorf("%s stopped for %s, want %s", n.name, cause, codeDiskHangs)
	}
	stopped = log.timeAt(place)
	t.result.Hangs.Stopped++
	for _, address := range []string{n.Addresses.Clients, n.Addresses.Nodes} {
		if err := t.waitWithin(ctx, time.Until(stopped.Add(portsWithin)), address+" of "+n.name+" to be closed", func() bool {
			conn, err := net.DialTimeout("tcp", address, time.Second)
			if err == nil {
				_ = conn.Close()
			}
			return err != nil
		}); err != nil {
			return time.Time{}, err
		}
	}
	if _, err := n.askStatus(ctx); err == nil {
		return time.Time{}, fmt.Errorf("%s has stopped, and still answers on a connection", n.name)
	}
	return stopped, n.checkProbe("/livez")
}

// awaitEndOfReport checks that a node that has stopped answers probes with the reason until its time is over.
func (n *nodeProcess) awaitEndOfReport(ctx context.Context, stopped time.Time) error {
	for ctx.Err() == nil {
		switch code, text, err := n.askProbe("/livez"); {
		case err == nil && code == http.StatusServiceUnavailable && strings.Contains(text, hangText):
		case err == nil:
			return fmt.Errorf("%s has stopped, and /livez answers %d %q", n.name, code, text)
		case time.Since(stopped) < reportedFor-reportSlack:
			return fmt.Errorf("%s has stopped, and /livez ended after %v: %w", n.name, time.Since(stopped), err)
		default:
			return nil
		}
		if time.Since(stopped) > reportedFor+reportSlack {
			return fmt.Errorf("%s has stopped, and /livez answers for longer than %v", n.name, reportedFor+reportSlack)
		}
		pollFor(ctx, 200*time.Millisecond, func() bool { return false })
	}
	return ctx.Err()
}

// awaitFailedExit waits for the end of a process whose disk answers again.
func awaitFailedExit(ctx context.Context, t *crashRun, n *nodeProcess) error {
	if err := t.waitWithin(ctx, fullWait, "the process of "+n.name+" to end", n.HasEnded); err != nil {
		return err
	}
	var exit *exec.ExitError
	if err := n.ExitError(); !errors.As(err, &exit) || exit.ExitCode() != exitFailed {
		return fmt.Errorf("%s ended after its disk hung with %v, want exit code %d: %s",
			n.name, err, exitFailed, n.LastLines())
	}
	return n.Kill()
}

// awaitNotReady polls /readyz until it answers 503 with the reason.
func (n *nodeProcess) awaitNotReady(ctx context.Context, began time.Time, longest *int64) error {
	for ctx.Err() == nil {
		if n.checkProbe("/readyz") == nil {
			noteLongest(longest, began)
			return nil
		}
		if time.Since(began) > notReadyWithin {
			code, text, err := n.askProbe("/readyz")
			return fmt.Errorf("the disk of %s hangs for %v, and /readyz answers %d %q %v",
				n.name, time.Since(began), code, text, err)
		}
		pollFor(ctx, pause, func() bool { return false })
	}
	return ctx.Err()
}

// checkProbe is an error unless a probe answers 503, and that the disk does not answer.
func (n *nodeProcess) checkProbe(path string) error {
	code, text, err := n.askProbe(path)
	if err == nil && (code != http.StatusServiceUnavailable || !strings.Contains(text, hangText)) {
		err = fmt.Errorf("%s of %s answers %d %q", path, n.name, code, text)
	}
	return err
}

func (n *nodeProcess) askProbe(path string) (code int, text string, err error) {
	// Each probe has a connection of its own, as those of a supervisor may have.
	asker := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := asker.Get("http://" + n.Addresses.HTTP + path)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	return answer.StatusCode, strings.TrimSpace(string(body)), err
}

// alarmText is the text of a node's first alarm with a code, empty while there is none.
func (n *nodeProcess) alarmText(ctx context.Context, code string) string {
	s, err := n.askStatus(ctx)
	if err != nil {
		return err.Error()
	}
	return textOf(s.GetAlarms(), code)
}

func textOf(alarms []*profilev1.Alarm, code string) string {
	for _, a := range alarms {
		if a.GetCode() == code {
			return a.GetText()
		}
	}
	return ""
}

// waitWithin waits for a condition, for a time.
func (t *crashRun) waitWithin(ctx context.Context, limit time.Duration, what string, done func() bool) error {
	for deadline := time.Now().Add(limit); !done(); time.Sleep(pause) {
		if err := t.checkFailures(ctx); err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waited for %s", what)
		}
	}
	return nil
}
