package fsm

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/profilenode/profilenode/lock"
)

// The policies of a store. The existing policies and their defaults are rows, which FoundCluster wrote: a build that knows a
// further policy must not apply it by itself.
const (
	PolicyHistory     = "history"
	PolicyMaxData     = "max_data_bytes"
	PolicyMaxMessages = "max_messages"
	PolicyMaxWaiters  = "max_waiters"

	PolicyMaxMessageBytes      = "max_message_bytes"
	PolicyRemovedDays          = "removed_days"
	PolicyUnclaimedMessageDays = "unclaimed_message_days"

	// Of the whole cluster: a store has none of its own.
	PolicyMaxServers    = "max_game_servers"
	PolicyRegistrations = "registrations_per_second"
)

// Policy is a setting of one store.
type Policy struct {
	Name      string
	Value     int64
	Unit      string
	Help      string
	Inherited bool // from the default of every store
}

// policySpec describes a policy to operators, and holds the range that is checked before a value is proposed.
type policySpec struct {
	name       string
	normal     int64
	least, top int64
	unit, help string
}

var policies = []policySpec{
	{PolicyHistory, 16, 1, 1000, "revisions", "revisions of each profile that are kept, the current one included"},
	{PolicyMaxData, MaxData, 1, MaxData, "bytes", "largest data of a profile"},
	{PolicyMaxMessages, 1000, 0, 100_000, "messages", "messages that may wait in a profile"},
	{PolicyMaxServers, 10_000, 1, 1_000_000, "game servers", "game servers that may be registered and alive; of the whole cluster"},
	{PolicyRegistrations, 100, 1, 100_000, "a second", "registrations that the leader takes, without those of processes that come back after an expiry; of the whole cluster"},
	{PolicyMaxMessageBytes, 16 << 20, 0, 1 << 30, "bytes", "bytes of the messages that may wait in a profile"},
	{PolicyRemovedDays, 30, 0, longestDueDays, "days", "days for which the earlier revisions of a removed profile are kept"},
	{PolicyUnclaimedMessageDays, 0, 0, longestDueDays, "days", "days after which a message to a profile that was never saved is dropped; 0: never"},
	{PolicyMaxWaiters, 64, 0, 1000, "game servers", "game servers that may wait for a profile; those that steal it are admitted beyond"},
}

// DefaultPolicies returns the policies that FoundCluster writes.
func DefaultPolicies() []*PolicyValue {
	values := make([]*PolicyValue, 0, len(policies))
	for _, p := range policies {
		values = append(values, &PolicyValue{Name: p.name, Value: p.normal})
	}
	return values
}

// CheckPolicy reports in one sentence why a policy's value is invalid, before it is proposed.
func CheckPolicy(store, name string, value int64) error {
	names := make([]string, 0, len(policies))
	for _, p := range policies {
		if p.name == name {
			if store != "" && isOfCluster(name) {
				return fmt.Errorf("policy %s is of the whole cluster: set it without a store", name)
			}
			if value < p.least || value > p.top {
				return fmt.Errorf("policy %s is between %d and %d %s, not %d", name, p.least, p.top, p.unit, value)
			}
			return nil
		}
		names = append(names, p.name)
	}
	return fmt.Errorf("there is no policy %q; there are %s", name, strings.Join(names, ", "))
}

// isOfCluster says that a policy limits the cluster as a whole, and no store has it.
func isOfCluster(name string) bool { return name == PolicyMaxServers || name == PolicyRegistrations }

func policyKey(store, name string) []byte { return appendText([]byte{tablePolicy}, store, name) }

// policyCache saves two reads for each Save. A change of a policy empties it; a batch that fails need not, since then the
// node stops.
type policyCache map[string]int64

const policyCacheRows = 4096

// policyTable holds the policies of the stores.
type policyTable struct {
	*tableWriter
	cache  *policyCache
	audits *auditTable
}

func (t *policyTable) policyValueOf(store, name string) int64 {
	cached := store + "\x00" + name
	if value, ok := (*t.cache)[cached]; ok {
		return value
	}
	row, ok := t.getRow(policyKey(store, name))
	if !ok {
		row, ok = t.getRow(policyKey("", name))
	}
	value := int64(0)
	if ok {
		value = t.decodePolicyValue(row)
	}
	if len(*t.cache) >= policyCacheRows {
		clear(*t.cache)
	}
	(*t.cache)[cached] = value
	return value
}

func (r *tableReader) decodePolicyValue(row []byte) int64 {
	f := newRowReader(row)
	value := f.readInt()
	r.noteError(f.finishRow(tablePolicy))
	return value
}

func (t *policyTable) putPolicy(store, name string, value int64) {
	w := newRowWriter(10)
	w.writeInt(value)
	t.putRow(policyKey(store, name), w)
	clear(*t.cache)
}

func (t *policyTable) setPolicy(by lock.Incarnation, c *SetPolicy) Result {
	if c.Store != "" && CheckStore(c.Store) != nil {
		return Result{Code: Invalid}
	}
	if strings.ContainsRune(c.Name, 0) || !t.hasRow(policyKey("", c.Name)) {
		return Result{Code: UnknownPolicy}
	}
	if !c.Inherit {
		t.putPolicy(c.Store, c.Name, c.Value)
		t.audits.addAudit(AuditSetPolicy, by, 0, Audit{Store: c.Store, Reason: c.Name + "=" + strconv.FormatInt(c.Value, 10)})
		return Result{}
	}
	if c.Store == "" {
		return Result{Code: Invalid} // the default itself has no default to go back to
	}
	t.deleteRow(policyKey(c.Store, c.Name))
	clear(*t.cache)
	t.audits.addAudit(AuditSetPolicy, by, 0, Audit{Store: c.Store, Reason: c.Name + " as the default"})
	return Result{}
}
