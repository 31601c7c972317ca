package main

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// setting is one thing that can be configured: --name on the command line, PROFILENODE_NAME in the environment, name in
// the file. All three are read by the same set, so that they mean the same and fail in the same words.
type setting struct {
	name  string
	shape string // shape of the value, for --help
	help  string
	set   func(c *Config, text string) error
	get   func(c *Config) string

	secret bool // the value is never shown
}

func (s setting) variableName() string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(s.name, "-", "_"))
}

const variablePrefix = "PROFILENODE_"

// allSettings is every field of Config, in the order of node.yaml.
func allSettings() []setting {
	return []setting{
		textSetting("data", "folder", "where this node keeps everything", func(c *Config) *string { return &c.Data }),

		textSetting("bind", "address", "listen for clients here", func(c *Config) *string { return &c.Bind }),
		textSetting("advertise", "address", "how clients reach this node (default: bind)", func(c *Config) *string { return &c.Advertise }),
		textSetting("bind-nodes", "address", "listen for the other nodes here", func(c *Config) *string { return &c.BindNodes }),
		textSetting("advertise-nodes", "address", "how other nodes reach this node (default: bind-nodes)", func(c *Config) *string { return &c.AdvertiseNodes }),
		listSetting("nodes", "address,...", "every node's advertised nodes address, own included; empty: a cluster of one", func(c *Config) *[]string { return &c.Nodes }),
		textSetting("cluster", "id", "the cluster that this node is to be in, as status prints it; empty: any, or a new one", func(c *Config) *string { return &c.Cluster }),
		textSetting("bind-gossip", "address", "gossip here, TCP and UDP; empty: no gossip", func(c *Config) *string { return &c.BindGossip }),
		textSetting("advertise-gossip", "address", "how gossip reaches this node (default: bind-gossip)", func(c *Config) *string { return &c.AdvertiseGossip }),
		textSetting("bind-server-gossip", "address", "hear game servers' gossip here, TCP and UDP; empty: do not", func(c *Config) *string { return &c.BindServerGossip }),
		textSetting("advertise-server-gossip", "address", "how game servers' gossip reaches this node (default: bind-server-gossip)", func(c *Config) *string { return &c.AdvertiseServerGossip }),
		textSetting("bind-http", "address", "answer /livez, /readyz and /metrics here; empty: do not", func(c *Config) *string { return &c.BindHTTP }),
		boolSetting("pprof", "serve Go's profiles of this process at /debug/pprof/ of bind-http, which must be on loopback", func(c *Config) *bool { return &c.Pprof }),

		textSetting("tls-cert", "file", "this node's certificate, PEM", func(c *Config) *string { return &c.TLSCert }),
		textSetting("tls-key", "file", "its key, PEM", func(c *Config) *string { return &c.TLSKey }),
		textSetting("tls-ca", "file", "who signs the certificates of nodes and clients, PEM", func(c *Config) *string { return &c.TLSCA }),
		durationSetting("tls-expiry-warning", "how long before a certificate in these files expires the alarm CERTIFICATE_EXPIRES stands", func(c *Config) *time.Duration { return &c.TLSExpiryWarning }),
		secretSetting("gossip-key", "base64", "16, 24 or 32 bytes, the same on every node", func(c *Config) *string { return &c.GossipKey }),
		secretSetting("server-gossip-key", "base64", "16, 24 or 32 other bytes, the same on every node and game server", func(c *Config) *string { return &c.ServerGossipKey }),
		boolSetting("insecure", "listen beyond loopback without TLS and keys", func(c *Config) *bool { return &c.Insecure }),

		levelSetting("log-level", "debug, info, warn or error", func(c *Config) *slog.Level { return &c.LogLevel }),
		boolSetting("log-json", "log as JSON", func(c *Config) *bool { return &c.LogJSON }),

		countSetting("max-connections", "connections that clients may have open here; 0: three quarters of the files that the process may have open", func(c *Config) *int { return &c.MaxConnections }),
		countSetting("max-connections-per-host", "the same from one host; 0: as many as in all, since a fleet behind NAT is one host", func(c *Config) *int { return &c.MaxConnectionsPerHost }),

		durationSetting("heartbeat", "a follower that hears nothing for this long asks for votes", func(c *Config) *time.Duration { return &c.Heartbeat }),
		durationSetting("election", "a candidate without a majority tries again after this", func(c *Config) *time.Duration { return &c.Election }),
		durationSetting("leader-lease", "a leader that reaches no majority for this long steps down", func(c *Config) *time.Duration { return &c.LeaderLease }),
		durationSetting("tick", "how often the leader looks for game servers that are gone; at most 500ms", func(c *Config) *time.Duration { return &c.Tick }),
		durationSetting("ping", "how often the leader tries a game server's ping port", func(c *Config) *time.Duration { return &c.Ping }),
		durationSetting("ping-reach", "how long an answer of a ping port shows that this node reaches it; at least twice ping", func(c *Config) *time.Duration { return &c.PingReach }),
		durationSetting("ping-again", "between two refusals of a ping port, which prove a death; at most 500ms", func(c *Config) *time.Duration { return &c.PingAgain }),

		sizeSetting("snapshot-bytes", "bytes of log after which a snapshot is taken", func(c *Config) *uint64 { return &c.SnapshotBytes }),
		sizeSetting("trailing-bytes", "bytes of log that stay behind a snapshot", func(c *Config) *uint64 { return &c.TrailingBytes }),
		sizeSetting("max-in-flight-bytes", "bytes queued and proposed before requests are refused as busy", func(c *Config) *uint64 { return &c.MaxInFlightBytes }),
		sizeSetting("reserve", "bytes free on the data folder's disk below which this node gives up leading and raises an alarm", func(c *Config) *uint64 { return &c.Reserve }),
		sizeSetting("hard-reserve", "bytes free there below which it stops, while it can still write; not above reserve", func(c *Config) *uint64 { return &c.HardReserve }),

		durationSetting("disk-hang-limit", "an operation of the disk that takes longer makes a leader give up leading; above 1.5s", func(c *Config) *time.Duration { return &c.DiskHangLimit }),
	}
}

func textSetting(name, shape, help string, field func(*Config) *string) setting {
	return setting{name: name, shape: shape, help: help,
		set: func(c *Config, text string) error { *field(c) = text; return nil },
		get: func(c *Config) string { return *field(c) }}
}

func secretSetting(name, shape, help string, field func(*Config) *string) setting {
	s := textSetting(name, shape, help, field)
	s.secret = true
	return s
}

func listSetting(name, shape, help string, field func(*Config) *[]string) setting {
	return setting{name: name, shape: shape, help: help,
		set: func(c *Config, text string) error { *field(c) = splitCommaList(text); return nil },
		get: func(c *Config) string { return strings.Join(*field(c), ",") }}
}

func boolSetting(name, help string, field func(*Config) *bool) setting {
	return setting{name: name, shape: "", help: help,
		set: func(c *Config, text string) error {
			switch text {
			case "true":
				*field(c) = true
			case "false":
				*field(c) = false
			default:
				return fmt.Errorf("%s %q is neither true nor false", name, text)
			}
			return nil
		},
		get: func(c *Config) string { return strconv.FormatBool(*field(c)) }}
}

func countSetting(name, help string, field func(*Config) *int) setting {
	return setting{name: name, shape: "number", help: help,
		set: func(c *Config, text string) error {
			n, err := strconv.Atoi(text)
			if err != nil || n < 0 {
				return fmt.Errorf("%s %q is not a number of 0 or more: write it without a unit", name, text)
			}
			*field(c) = n
			return nil
		},
		get: func(c *Config) string { return strconv.Itoa(*field(c)) }}
}

func durationSetting(name, help string, field func(*Config) *time.Duration) setting {
	return setting{name: name, shape: "duration", help: help,
		set: func(c *Config, text string) error {
			d, err := time.ParseDuration(text)
			if err != nil || d <= 0 {
				return fmt.Errorf("%s %q is not a duration above zero: write a number with a unit, such as 300ms or 10s", name, text)
			}
			*field(c) = d
			return nil
		},
		get: func(c *Config) string { return formatShortDuration(*field(c)) }}
}

// formatShortDuration is d as people write it: 10s and not 10.0s, 1m and not 1m0s.
func formatShortDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func sizeSetting(name, help string, field func(*Config) *uint64) setting {
	return setting{name: name, shape: "size", help: help,
		set: func(c *Config, text string) error {
			n, err := parseSize(text)
			if err != nil {
				return fmt.Errorf("%s %q is not a size: write bytes, or a number with KiB, MiB or GiB", name, text)
			}
			*field(c) = n
			return nil
		},
		get: func(c *Config) string { return formatSize(*field(c)) }}
}

func levelSetting(name, help string, field func(*Config) *slog.Level) setting {
	return setting{name: name, shape: "level", help: help,
		set: func(c *Config, text string) error {
			for _, l := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
				if text == strings.ToLower(l.String()) {
					*field(c) = l
					return nil
				}
			}
			return fmt.Errorf("%s %q is none of debug, info, warn and error", name, text)
		},
		get: func(c *Config) string { return strings.ToLower(field(c).String()) }}
}

// splitCommaList cuts a,b,c; empty text is an empty list.
func splitCommaList(text string) []string {
	var parts []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}

// flagText is a flag's text as it stood on the command line. It is read later, with everything else, so that all faults
// show at once.
type flagText struct {
	text  string
	shape string
}

func (g *flagText) String() string        { return g.text }
func (g *flagText) Set(text string) error { g.text = text; return nil }

func (g *flagText) Type() string {
	if g.shape == "" {
		return "bool" // shown without a value
	}
	return g.shape
}

// addSettingFlags declares every setting as a flag.
func addSettingFlags(flags *pflag.FlagSet) {
	defaults := DefaultConfig()
	flags.SortFlags = false
	for _, s := range allSettings() {
		flag := flags.VarPF(&flagText{text: s.get(&defaults), shape: s.shape}, s.name, "", s.help)
		if s.shape == "" {
			flag.NoOptDefVal = "true"
		}
	}
}
