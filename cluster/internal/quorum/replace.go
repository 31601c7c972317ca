package quorum

import "github.com/hashicorp/raft"

// ChooseReplaced returns the voter that a learner replaces: the one that has been silent for longest, if that is longer than
// replacedAfter and it has not answered otherwise either. answers says whether a node has just answered. found is false if no
// voter has been silent for so long. safe is false while the voters that answer are no majority. If they are, they are one too
// once the replaced one is gone, and with the learner.
func (s Silence) ChooseReplaced(servers []raft.Server, self string, answers func(id string) bool) (replaced raft.Server, found, safe bool) {
	voters, answering := 0, 0
	longest := replacedAfter
	for _, server := range servers {
		id := string(server.ID)
		if server.Suffrage != raft.Voter {
			continue
		}
		voters++
		switch {
		case id == self, answers(id) && s[id] <= unreachableAfter:
			answering++
		case !answers(id) && s[id] > longest:
			longest, replaced, found = s[id], server, true
		}
	}
	return replaced, found, answering >= majorityOf(voters)
}
