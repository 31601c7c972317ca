package check

import (
	"fmt"

	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
)

// checkCoins: the coins of all profiles and of the messages that wait are as many as the header says. Those of a message whose
// send was not acknowledged, and which is nowhere, may be missing: its sender does not know whether to take them back. More than
// there were is never right.
func checkCoins(h *History) []Violation {
	if h.Header.Coins == nil {
		return nil
	}
	var sum, open int64
	there := map[string]bool{}
	for _, key := range h.keys {
		f := h.profiles[key].final
		if f == nil {
			return []Violation{{Invariant: "I5", Key: key, Undecided: true, Text: "the coins cannot be counted without the final read of each profile"}}
		}
		if f.Doc != nil {
			sum += f.Doc.Coins
			for _, body := range f.Doc.Applied {
				there[body] = true
			}
		}
		waiting, err := f.Waiting()
		if err != nil {
			return []Violation{{Invariant: "I5", Key: key, Text: fmt.Sprintf("the list of waiting messages cannot be read: %v", err)}}
		}
		for _, body := range waiting {
			sum += history.CoinsOf(body)
			there[body] = true
		}
	}
	for i := range h.Operations {
		if o := &h.Operations[i]; o.Action() == history.Send && o.Type != history.OK && !there[o.Invocation.Body] {
			open += history.CoinsOf(o.Invocation.Body)
		}
	}
	want := *h.Header.Coins
	switch {
	case sum > want:
		return []Violation{{Invariant: "I5", Text: fmt.Sprintf("there are %d coins, %d more than there were", sum, sum-want)}}
	case sum < want-open:
		return []Violation{{Invariant: "I5", Text: fmt.Sprintf("there are %d coins, %d fewer than there were, and at most %d are in messages that were not acknowledged", sum, want-sum, open)}}
	}
	return nil
}
