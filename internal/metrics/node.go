package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/profilenode/profilenode/cluster"
)

// Node is the source of the values that are read at each scrape.
type Node interface{ Status() cluster.Status }

// Watch shows how a node stands, too. It may be called once.
func (m *Metrics) Watch(n Node) { m.registerCollector(newNodeCollector(n)) }

// nodeCollector asks a node for its status at each scrape.
type nodeCollector struct {
	node    Node
	gauges  []nodeGauge
	members *prometheus.Desc
	alarms  *prometheus.Desc
}

type nodeGauge struct {
	about *prometheus.Desc
	value func(cluster.Status) float64
}

func newNodeCollector(n Node) *nodeCollector {
	s := &nodeCollector{
		node:    n,
		members: newDesc("members", "Nodes of the cluster, by how they seem to gossip to this one.", "gossip"),
		alarms:  newDesc("alarm_active", "Alarms and notices of this node, by code.", "code", "kind"),
	}
	for _, g := range []struct {
		name, help string
		value      func(cluster.Status) float64
	}{
		{"leader", "1 if this node leads.", func(s cluster.Status) float64 { return boolToFloat(s.State == "leader") }},
		{"leader_known", "1 if this node knows a leader.", func(s cluster.Status) float64 { return boolToFloat(s.Leader != "") }},
		{"term", "Raft's term.", func(s cluster.Status) float64 { return float64(s.Term) }},
		{"applied_index", "Index of the last entry in the tables.", func(s cluster.Status) float64 { return float64(s.Applied) }},
		{"commit_index", "Index of the last entry that is committed, as far as this node knows.", func(s cluster.Status) float64 { return float64(s.Committed) }},
		{"commit_lag_entries", "Entries that are committed and not applied here yet.", func(s cluster.Status) float64 { return float64(s.Lag) }},
		{"snapshot_index", "Index of the newest snapshot.", func(s cluster.Status) float64 { return float64(s.Snapshot) }},
		{"level", "Format that every voter can apply.", func(s cluster.Status) float64 { return float64(s.Level) }},
		{"game_servers", "Game servers and tools that are alive.", func(s cluster.Status) float64 { return float64(s.Servers) }},
		{"sessions", "Profiles that they hold.", func(s cluster.Status) float64 { return float64(s.Sessions) }},
		{"waiting", "Game servers that wait for a profile; at the leader.", func(s cluster.Status) float64 { return float64(s.Waiters) }},
		{"game_servers_silent", "Living game servers that are silent for longer than their doubt; at the leader.", func(s cluster.Status) float64 { return float64(s.Silent) }},
		{"log_bytes", "Bytes of the log on disk.", func(s cluster.Status) float64 { return float64(s.LogBytes) }},
		{"table_bytes", "Bytes of the tables on disk.", func(s cluster.Status) float64 { return float64(s.TableBytes) }},
		{"disk_free_bytes", "Bytes free where the data folder is; 0 if that is not known.", func(s cluster.Status) float64 { return float64(s.FreeBytes) }},
		{"disk_short", "1 if less than the reserve is free here.", func(s cluster.Status) float64 { return boolToFloat(s.BelowReserve) }},
		{"disk_refusing", "1 if saves are refused for want of space; at the leader.", func(s cluster.Status) float64 { return boolToFloat(s.SavesRefused) }},
		{"digest_mismatch", "1 if the nodes' tables differ.", func(s cluster.Status) float64 { return boolToFloat(s.TablesDiffer) }},
		{"clock_distance_seconds", "By how much the voters' clocks are from their median, at most; at the leader.", func(s cluster.Status) float64 { return s.MaxClockOffset.Seconds() }},
		{"alarms", "Alarms of this node, without notices.", func(s cluster.Status) float64 { return countAlarms(s) }},
	} {
		s.gauges = append(s.gauges, nodeGauge{newDesc(g.name, g.help), g.value})
	}
	return s
}

func newDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prefix+name, help, labels, nil)
}

// countAlarms counts the alarms to page on.
func countAlarms(s cluster.Status) (count float64) {
	for _, alarm := range s.Alarms {
		if !alarm.Code.Notice() {
			count++
		}
	}
	return count
}

func boolToFloat(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// Describe names the gauges.
func (s *nodeCollector) Describe(to chan<- *prometheus.Desc) {
	for _, g := range s.gauges {
		to <- g.about
	}
	to <- s.members
	to <- s.alarms
}

// Collect asks once for all of them.
func (s *nodeCollector) Collect(to chan<- prometheus.Metric) {
	status := s.node.Status()
	for _, g := range s.gauges {
		to <- prometheus.MustNewConstMetric(g.about, prometheus.GaugeValue, g.value(status))
	}
	seems := map[string]int{"alive": 0, "dead": 0, "left": 0, "unknown": 0}
	for _, member := range status.Members {
		if _, known := seems[member.Gossip]; known {
			seems[member.Gossip]++
		} else {
			seems["unknown"]++
		}
	}
	active := map[cluster.AlarmCode]int{}
	for _, alarm := range status.Alarms {
		active[alarm.Code]++
	}
	for _, code := range cluster.AlarmCodes() {
		kind := "alarm"
		if code.Notice() {
			kind = "notice"
		}
		to <- prometheus.MustNewConstMetric(s.alarms, prometheus.GaugeValue, float64(active[code]), string(code), kind)
	}
	for gossip, count := range seems {
		to <- prometheus.MustNewConstMetric(s.members, prometheus.GaugeValue, float64(count), gossip)
	}
}
