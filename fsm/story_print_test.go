package fsm_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cockroachdb/datadriven"

	"github.com/profilenode/profilenode/fsm"
	"github.com/profilenode/profilenode/lock"
)

// codeNames are the words of a story for what became of a command.
var codeNames = [fsm.Codes]string{
	fsm.OK: "ok", fsm.Queued: "queued", fsm.Fenced: "fenced", fsm.RevisionDiffers: "revision differs", fsm.Owned: "owned",
	fsm.ServerGone: "server gone", fsm.Forgotten: "forgotten", fsm.AcknowledgeFirst: "acknowledge first", fsm.Cloned: "cloned",
	fsm.NameHeld: "name held", fsm.OtherCluster: "other cluster", fsm.Invalid: "invalid", fsm.TooLarge: "too large",
	fsm.QueueFull: "queue full", fsm.InboxFull: "inbox full", fsm.NoMessage: "no message", fsm.PartsMissing: "parts missing",
	fsm.DataDamaged: "data damaged", fsm.UnknownPolicy: "unknown policy", fsm.NoProfile: "no profile", fsm.NotWaiting: "not waiting", fsm.UnknownClass: "unknown class",
	fsm.GivenUp: "given up", fsm.Superseded: "superseded", fsm.NotOwned: "not owned",
	fsm.OtherRegistration: "other registration", fsm.MessagesWait: "messages wait",
}

// report prints the outcome of an entry. A game server that registered gets its name here.
func (s *story) report(lines []string, out fsm.Applied) string {
	var b strings.Builder
	for i, result := range out.Results {
		s.christen(lines[i], result)
		if len(lines) > 1 {
			fmt.Fprintf(&b, "%s: ", strings.Join(strings.Fields(lines[i])[:2], " "))
		}
		b.WriteString(s.result(result) + "\n")
	}
	for _, e := range out.Events {
		b.WriteString("  " + s.event(e) + "\n")
	}
	return b.String()
}

// christen gives a name to an incarnation that a register line has made: as=x, or the name it registered.
func (s *story) christen(line string, r fsm.Result) {
	act, list, _ := datadriven.ParseLine(line)
	if act != "register" || r.Token == 0 || s.nameOf(lock.Incarnation(r.Token)) != "" {
		return
	}
	args := argsOf(list)
	name := args.text("as", args.who())
	s.actors[name] = &actor{
		name: name, id: lock.Incarnation(r.Token), registration: s.registered[name], sent: map[uint64]*fsm.Command{},
	}
}

func (s *story) result(r fsm.Result) string {
	words := []string{codeNames[r.Code]}
	if r.Token != 0 {
		words = append(words, s.call(r.Token))
	}
	add := func(name string, n uint64) {
		if n != 0 {
			words = append(words, fmt.Sprintf("%s=%d", name, n))
		}
	}
	add("revision", r.Revision)
	add("message", r.Message)
	if r.Owner != 0 {
		words = append(words, "owner="+s.call(lock.Token(r.Owner)))
	}
	add("limit", r.Limit)
	add("place", r.Place)
	add("loads", r.Loads)
	add("granted", r.Granted)
	if r.More {
		words = append(words, "more")
	}
	if r.Repeated {
		words = append(words, "(as before)")
	}
	return strings.Join(words, " ")
}

func (s *story) event(e fsm.Event) string {
	who, profile := s.call(lock.Token(e.Server)), e.Store+"/"+e.Key
	switch e.Kind {
	case fsm.Granted:
		if e.Token == e.Ticket {
			return fmt.Sprintf("%s is granted %s %s", who, profile, s.call(e.Token))
		}
		return fmt.Sprintf("%s is granted %s %s for its ticket %s%s", who, profile, s.call(e.Token), s.call(e.Ticket), because(e.Cause))
	case fsm.LetGo:
		return fmt.Sprintf("%s is asked to let go of %s %s%s", who, profile, s.call(e.Token), because(e.Cause))
	case fsm.Lost:
		return fmt.Sprintf("%s has lost %s %s%s", who, profile, s.call(e.Token), because(e.Cause))
	case fsm.MessageWait:
		text := fmt.Sprintf("%s has message %d in %s %s", who, e.Message, profile, s.call(e.Token))
		if e.After > 0 {
			text += fmt.Sprintf(", after %d", e.After)
		}
		return text
	case fsm.ServerEnded:
		return who + " has ended"
	}
	return fmt.Sprintf("unknown event %d", e.Kind)
}

// because is why an event came about; nothing for a hand-off.
func because(cause lock.Cause) string {
	if cause == lock.NoCause {
		return ""
	}
	return ": " + cause.String()
}

// tables tells what is known of every profile, or of one.
func (s *story) tables(args storyArgs) string {
	var b strings.Builder
	look(s.t, s.m, func(v *fsm.View) {
		for _, p := range read(v.Profiles())(s.t) {
			if store, key := args.profile(); key != "" && (store != p.Store || key != p.Key) {
				continue
			}
			fmt.Fprintf(&b, "%s/%s\n", p.Store, p.Key)
			s.grantLine(&b, read(v.Grant(p.Store, p.Key))(s.t))
			s.recordLines(&b, v, p)
			for _, m := range read(v.AllMessages(p.Store, p.Key, 0, 0))(s.t) {
				fmt.Fprintf(&b, "  message %d %q from %s at %d", m.ID, m.Body, m.Sender, m.SentMS)
				if m.Kind != "" {
					fmt.Fprintf(&b, ", kind %s", m.Kind)
				}
				if m.Panics > 0 {
					fmt.Fprintf(&b, ", panics %d, the last %q", m.Panics, m.PanicText)
				}
				if m.SetAside() {
					b.WriteString(", set aside")
				}
				b.WriteString("\n")
			}
		}
	})
	return b.String()
}

func (s *story) grantLine(b *strings.Builder, g fsm.GrantRow) {
	if g.Token == 0 {
		return
	}
	owner := "nobody"
	if g.Owner != 0 {
		owner = s.call(lock.Token(g.Owner))
	}
	fmt.Fprintf(b, "  owner %s %s since %d, loads %d", owner, s.call(g.Token), g.SinceMS, g.Loads)
	if g.Revoked {
		b.WriteString(", revoked: " + g.Cause.String())
	}
	if g.Asked {
		b.WriteString(", asked")
	}
	if g.By.Incarnation != 0 {
		b.WriteString(", by " + g.By.Name)
	}
	if g.Orphan {
		b.WriteString(", orphan")
	}
	for i, w := range g.Waiters {
		sep := ", "
		if i == 0 {
			sep = ", waiting: "
		}
		fmt.Fprintf(b, "%s%s %s since %d", sep, s.call(lock.Token(w.Server)), s.call(w.Ticket), w.SinceMS)
		if w.Steals {
			b.WriteString(" to steal")
		}
	}
	b.WriteString("\n")
}

func (s *story) recordLines(b *strings.Builder, v *fsm.View, p fsm.ProfileName) {
	record, ok, err := v.Profile(p.Store, p.Key)
	must(s.t, err)
	if !ok {
		return
	}
	kind := "record"
	if !record.Exists {
		kind = "stone"
	}
	fmt.Fprintf(b, "  %s revision %d, created %d, saved %d", kind, record.Revision, record.CreatedMS, record.SavedMS)
	for _, name := range slices.Sorted(maps.Keys(record.Tags)) {
		fmt.Fprintf(b, ", %s:%s", name, record.Tags[name])
	}
	b.WriteString("\n")
	for _, h := range read(v.History(p.Store, p.Key))(s.t) {
		value, _, err := v.Data(p.Store, p.Key, h.Revision)
		must(s.t, err)
		by := []string{"saved under", "set", "removed"}[h.Kind]
		if h.Token != 0 {
			by += " " + s.call(h.Token)
		}
		if len(value) > 20 {
			value = fmt.Appendf(nil, "%d bytes", len(value))
		}
		fmt.Fprintf(b, "  %d %q %s at %d\n", h.Revision, value, by, h.SavedMS)
	}
}

func (s *story) answers(a *actor) string {
	var b strings.Builder
	look(s.t, s.m, func(v *fsm.View) {
		for _, row := range read(v.Answers(a.id))(s.t) {
			fmt.Fprintf(&b, "%d: %s\n", row.Number, s.result(row.Result))
		}
		parts, kept, err := v.Parts(a.id)
		must(s.t, err)
		for _, p := range parts {
			fmt.Fprintf(&b, "part %d of %d: %q\n", p.Part, p.Number, bytes.TrimSpace(p.Bytes))
		}
		if kept > 0 {
			fmt.Fprintf(&b, "%d bytes of parts\n", kept)
		}
	})
	return b.String()
}

func (s *story) servers() string {
	var b strings.Builder
	look(s.t, s.m, func(v *fsm.View) {
		for _, server := range read(v.Servers())(s.t) {
			fmt.Fprintf(&b, "%s %q", s.call(lock.Token(server.Incarnation)), server.Name)
			if server.Tool {
				b.WriteString(" tool")
			}
			if server.Alive {
				fmt.Fprintf(&b, " alive since %d", server.SinceMS)
				if server.Successor != 0 {
					fmt.Fprintf(&b, ", replaced by %s", s.call(lock.Token(server.Successor)))
				}
			} else {
				fmt.Fprintf(&b, " ended at %d by %s", server.EndedMS, server.Ground)
			}
			fmt.Fprintf(&b, ", settled %d, sessions %d", server.Settled, server.Sessions)
			if server.Class != (fsm.TimingClass{Name: fsm.DefaultClass, Timing: lock.DefaultTiming()}) {
				fmt.Fprintf(&b, ", %s", classLine(server.Class))
			}
			b.WriteString("\n")
		}
		for _, n := range read(v.Nodes())(s.t) {
			fmt.Fprintf(&b, "node %s at %s, for clients at %s\n", n.ID, n.Address, n.Client)
		}
		for _, a := range read(v.Alarms())(s.t) {
			fmt.Fprintf(&b, "alarm %s since %d: %s\n", a.Code, a.SinceMS, a.Text)
		}
		suspected, _, err := v.SuspectedLeader()
		if leader := read(suspected, err)(s.t); leader.Term != 0 {
			fmt.Fprintf(&b, "the leader of term %d was suspected at %d\n", leader.Term, leader.StampMS)
		}
		for _, address := range read(v.ExpectedNodes())(s.t) {
			fmt.Fprintf(&b, "a node is expected at %s\n", address)
		}
	})
	return b.String()
}

func (s *story) audit(f fsm.AuditFilter, limit int) string {
	var b strings.Builder
	look(s.t, s.m, func(v *fsm.View) {
		list, more, err := v.Audit(f, limit)
		must(s.t, err)
		if more {
			b.WriteString("older ones, and\n")
		}
		for _, a := range list {
			ring := map[fsm.AuditRing]string{fsm.OperatorsRing: "operators", fsm.GameServersRing: "servers"}[a.Ring]
			fmt.Fprintf(&b, "%d at %d, %s: %s", a.Number, a.StampMS, ring, a.Kind)
			if a.Store != "" {
				fmt.Fprintf(&b, " of %s/%s", a.Store, a.Key)
			}
			if a.By.Incarnation != 0 {
				fmt.Fprintf(&b, " by %s %q", s.call(lock.Token(a.By.Incarnation)), a.By.Name)
			}
			if a.Revision != 0 {
				fmt.Fprintf(&b, " at revision %d", a.Revision)
			}
			if a.From.Incarnation != 0 {
				fmt.Fprintf(&b, " to %s %q", s.call(lock.Token(a.From.Incarnation)), a.From.Name)
			}
			if a.Ground != lock.Living {
				fmt.Fprintf(&b, " for %s", a.Ground)
			}
			if a.Cause != lock.NoCause {
				fmt.Fprintf(&b, ", %s", a.Cause)
			}
			if a.Dropped != 0 {
				fmt.Fprintf(&b, ", messages dropped: %d", a.Dropped)
			}
			if a.Reason != "" {
				fmt.Fprintf(&b, ": %s", a.Reason)
			}
			b.WriteString("\n")
		}
	})
	return b.String()
}

func (s *story) classes() string {
	var b strings.Builder
	look(s.t, s.m, func(v *fsm.View) {
		for _, c := range read(v.TimingClasses())(s.t) {
			b.WriteString(classLine(c) + "\n")
		}
	})
	return b.String()
}

func classLine(c fsm.TimingClass) string {
	return fmt.Sprintf("class %s: renew %v, doubt %v, evidence %v, lease %v, hand-off %v", c.Name, c.Renew, c.Doubt, c.Evidence, c.Lease, c.HandOff)
}

func (s *story) policies(store string) string {
	var b strings.Builder
	look(s.t, s.m, func(v *fsm.View) {
		for _, p := range read(v.Policies(store))(s.t) {
			fmt.Fprintf(&b, "%s %d %s", p.Name, p.Value, p.Unit)
			if p.Inherited {
				b.WriteString(", inherited")
			}
			b.WriteString("\n")
		}
	})
	return b.String()
}
