package check

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
)

// checkMessages: an acknowledged message is applied exactly once or waits still, a refused one is nowhere, those of one sender
// keep their order, and an effect that was seen stays.
func checkMessages(h *History) (found []Violation) {
	for _, key := range h.keys {
		p := h.profiles[key]
		var sends []*history.Operation // by Call
		for _, o := range p.operations {
			if o.Action() == history.Send {
				sends = append(sends, o)
			}
		}
		if len(sends) == 0 {
			continue
		}
		found = append(found, p.checkEffectsStay()...)
		if p.final != nil {
			found = append(found, p.checkSends(sends)...)
		}
	}
	return found
}

// checkEffectsStay: what was applied at a revision is the beginning of what is applied at each later one.
func (p *profile) checkEffectsStay() (found []Violation) {
	exact := make([]sighting, 0, len(p.sightings))
	for _, s := range p.sightings {
		if s.exact && s.doc != nil {
			exact = append(exact, s)
		}
	}
	slices.SortStableFunc(exact, func(a, b sighting) int { return cmp.Compare(a.revision, b.revision) })
	for i := 1; i < len(exact); i++ {
		a, b := exact[i-1], exact[i]
		if len(b.doc.Applied) < len(a.doc.Applied) || !slices.Equal(b.doc.Applied[:len(a.doc.Applied)], a.doc.Applied) {
			found = append(found, Violation{Invariant: "I5", Key: p.key, Operations: copyOperations(a.operation, b.operation), Text: fmt.Sprintf(
				"revision %d has the effects of %d messages, and revision %d does not go on from them but has %d", a.revision, len(a.doc.Applied), b.revision, len(b.doc.Applied))})
		}
	}
	return found
}

func (p *profile) checkSends(sends []*history.Operation) (found []Violation) {
	complain := func(o *history.Operation, format string, args ...any) {
		found = append(found, Violation{Invariant: "I5", Key: p.key, Operations: copyOperations(o), Text: fmt.Sprintf(format, args...)})
	}
	waiting, err := p.final.Waiting()
	if err != nil {
		complain(nil, "the list of waiting messages cannot be read: %v", err)
	}
	asked := map[string]*history.Operation{}
	for _, o := range sends {
		asked[o.Invocation.Body] = o
	}
	var all []string // applied, then waiting
	if p.final.Doc != nil {
		all = append(all, p.final.Doc.Applied...)
	}
	applied := len(all)
	all = append(all, waiting...)
	place := map[string]int{} // from 1
	for i, body := range all {
		where := "applied"
		if i >= applied {
			where = "waits"
		}
		switch before := place[body]; {
		case asked[body] == nil:
			complain(nil, "message %s is %s, and nobody sent it", body, where)
		case before > applied:
			complain(asked[body], "message %s waits twice", body)
		case before > 0 && i >= applied:
			complain(asked[body], "message %s was applied, and waits still", body)
		case before > 0:
			complain(asked[body], "message %s was applied twice", body)
		}
		place[body] = i + 1
	}
	for _, o := range sends {
		body := o.Invocation.Body
		if o.Type == history.OK && place[body] == 0 {
			complain(o, "message %s was acknowledged, and is lost", body)
		}
		if o.Type == history.Fail && place[body] > 0 {
			complain(o, "message %s was refused, and is there", body)
		}
	}
	return append(found, p.checkOrder(sends, place)...)
}

// checkOrder: of two messages of one game server, of which one was acknowledged before the other was asked for, that one is first.
func (p *profile) checkOrder(sends []*history.Operation, place map[string]int) (found []Violation) {
	senders := map[string][]*history.Operation{}
	for _, o := range sends {
		if place[o.Invocation.Body] > 0 {
			sender := history.GameServer(o.Invocation.Process)
			senders[sender] = append(senders[sender], o)
		}
	}
	for _, byCall := range senders {
		byReturn := slices.Clone(byCall)
		slices.SortStableFunc(byReturn, func(a, b *history.Operation) int { return cmp.Compare(a.Return, b.Return) })
		var last *history.Operation // in place, of those that were acknowledged before
		next := 0
		for _, o := range byCall {
			for ; next < len(byReturn) && byReturn[next].Return < o.Call; next++ {
				if last == nil || place[byReturn[next].Invocation.Body] > place[last.Invocation.Body] {
					last = byReturn[next]
				}
			}
			if last != nil && place[last.Invocation.Body] > place[o.Invocation.Body] {
				found = append(found, Violation{Invariant: "I5", Key: p.key, Operations: copyOperations(last, o), Text: fmt.Sprintf(
					"message %s was sent after %s by the same game server, and comes before it", o.Invocation.Body, last.Invocation.Body)})
			}
		}
	}
	return found
}
