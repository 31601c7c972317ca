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
	shape string // what a value looks like, for --help
	help  string
	set   func(c *Config, text string) error
	get   func(c *Config) string
}

func (s setting) variable() string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(s.name, "-", "_"))
}

const variablePrefix = "PROFILENODE_"

// settings is every field of Config, in the order of profilenode.yml.
func settings() []setting {
	return []setting{
		word("data", "folder", "where this node keeps everything", func(c *Config) *string { return &c.Data }),

		word("bind", "address", "listen for clients here", func(c *Config) *string { return &c.Bind }),
		word("advertise", "address", "how clients reach this node (default: bind)", func(c *Config) *string { return &c.Advertise }),
		word("bind-nodes", "address", "listen for the other nodes here", func(c *Config) *string { return &c.BindNodes }),
		word("advertise-nodes", "address", "how other nodes reach this node (default: bind-nodes)", func(c *Config) *string { return &c.AdvertiseNodes }),
		list("nodes", "address,...", "every node's advertised nodes address, own included; empty: a cluster of one", func(c *Config) *[]string { return &c.Nodes }),
		word("bind-gossip", "address", "gossip here, TCP and UDP; empty: no gossip", func(c *Config) *string { return &c.BindGossip }),
		word("advertise-gossip", "address", "how gossip reaches this node (default: bind-gossip)", func(c *Config) *string { return &c.AdvertiseGossip }),
		word("bind-server-gossip", "address", "hear game servers' gossip here, TCP and UDP; empty: do not", func(c *Config) *string { return &c.BindServerGossip }),
		word("advertise-server-gossip", "address", "how game servers' gossip reaches this node (default: bind-server-gossip)", func(c *Config) *string { return &c.AdvertiseServerGossip }),
		word("bind-http", "address", "answer /livez, /readyz and /metrics here; empty: do not", func(c *Config) *string { return &c.BindHTTP }),
		yesno("pprof", "serve Go's profiles of this process at /debug/pprof/ of bind-http, which must be on loopback", func(c *Config) *bool { return &c.Pprof }),

		word("tls-cert", "file", "this node's certificate, PEM", func(c *Config) *string { return &c.TLSCert }),
		word("tls-key", "file", "its key, PEM", func(c *Config) *string { return &c.TLSKey }),
		word("tls-ca", "file", "who signs the certificates of nodes and clients, PEM", func(c *Config) *string { return &c.TLSCA }),
		word("gossip-key", "base64", "16, 24 or 32 bytes, the same on every node", func(c *Config) *string { return &c.GossipKey }),
		word("server-gossip-key", "base64", "16, 24 or 32 other bytes, the same on every node and game server", func(c *Config) *string { return &c.ServerGossipKey }),
		yesno("insecure", "listen beyond loopback without TLS and keys", func(c *Config) *bool { return &c.Insecure }),

		level("log-level", "debug, info, warn or error", func(c *Config) *slog.Level { return &c.LogLevel }),
		yesno("log-json", "log as JSON", func(c *Config) *bool { return &c.LogJSON }),

		duration("heartbeat", "a follower that hears nothing for this long asks for votes", func(c *Config) *time.Duration { return &c.Heartbeat }),
		duration("election", "a candidate without a majority tries again after this", func(c *Config) *time.Duration { return &c.Election }),
		duration("leader-lease", "a leader that reaches no majority for this long steps down", func(c *Config) *time.Duration { return &c.LeaderLease }),
		duration("tick", "how often the leader looks for game servers that are gone; at most 500ms", func(c *Config) *time.Duration { return &c.Tick }),
		duration("ping", "how often the leader tries a game server's ping port", func(c *Config) *time.Duration { return &c.Ping }),
		duration("ping-reach", "how long an answer of a ping port shows that this node reaches it; at least twice ping", func(c *Config) *time.Duration { return &c.PingReach }),
		duration("ping-again", "between two refusals of a ping port, which prove a death; at most 500ms", func(c *Config) *time.Duration { return &c.PingAgain }),

		size("snapshot-bytes", "bytes of log after which a snapshot is taken", func(c *Config) *uint64 { return &c.SnapshotBytes }),
		size("trailing-bytes", "bytes of log that stay behind a snapshot", func(c *Config) *uint64 { return &c.TrailingBytes }),
		size("max-in-flight-bytes", "bytes queued and proposed before requests are refused as busy", func(c *Config) *uint64 { return &c.MaxInFlightBytes }),
		size("reserve", "bytes free on the data folder's disk below which this node gives up leading and raises an alarm", func(c *Config) *uint64 { return &c.Reserve }),
		size("hard-reserve", "bytes free there below which it stops, while it can still write; not above reserve", func(c *Config) *uint64 { return &c.HardReserve }),
	}
}

func word(name, shape, help string, field func(*Config) *string) setting {
	return setting{name, shape, help,
		func(c *Config, text string) error { *field(c) = text; return nil },
		func(c *Config) string { return *field(c) }}
}

func list(name, shape, help string, field func(*Config) *[]string) setting {
	return setting{name, shape, help,
		func(c *Config, text string) error { *field(c) = splitList(text); return nil },
		func(c *Config) string { return strings.Join(*field(c), ",") }}
}

func yesno(name, help string, field func(*Config) *bool) setting {
	return setting{name, "", help,
		func(c *Config, text string) error {
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
		func(c *Config) string { return strconv.FormatBool(*field(c)) }}
}

func duration(name, help string, field func(*Config) *time.Duration) setting {
	return setting{name, "duration", help,
		func(c *Config, text string) error {
			d, err := time.ParseDuration(text)
			if err != nil || d <= 0 {
				return fmt.Errorf("%s %q is not a duration above zero: write a number with a unit, such as 300ms or 10s", name, text)
			}
			*field(c) = d
			return nil
		},
		func(c *Config) string { return shortDuration(*field(c)) }}
}

// shortDuration is d as people write it: 10s and not 10.0s, 1m and not 1m0s.
func shortDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func size(name, help string, field func(*Config) *uint64) setting {
	return setting{name, "size", help,
		func(c *Config, text string) error {
			n, err := parseSize(text)
			if err != nil {
				return fmt.Errorf("%s %q is not a size: write bytes, or a number with KiB, MiB or GiB", name, text)
			}
			*field(c) = n
			return nil
		},
		func(c *Config) string { return formatSize(*field(c)) }}
}

func level(name, help string, field func(*Config) *slog.Level) setting {
	return setting{name, "level", help,
		func(c *Config, text string) error {
			for _, l := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
				if text == strings.ToLower(l.String()) {
					*field(c) = l
					return nil
				}
			}
			return fmt.Errorf("%s %q is none of debug, info, warn and error", name, text)
		},
		func(c *Config) string { return strings.ToLower(field(c).String()) }}
}

// splitList cuts a,b,c; empty text is an empty list.
func splitList(text string) []string {
	var parts []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}

// given is a flag's text as it stood on the command line. It is read later, with everything else, so that all faults
// show at once.
type given struct {
	text  string
	shape string
}

func (g *given) String() string        { return g.text }
func (g *given) Set(text string) error { g.text = text; return nil }

func (g *given) Type() string {
	if g.shape == "" {
		return "bool" // shown without a value
	}
	return g.shape
}

// addFlags declares every setting as a flag.
func addFlags(flags *pflag.FlagSet) {
	defaults := DefaultConfig()
	flags.SortFlags = false
	for _, s := range settings() {
		flag := flags.VarPF(&given{text: s.get(&defaults), shape: s.shape}, s.name, "", s.help)
		if s.shape == "" {
			flag.NoOptDefVal = "true"
		}
	}
}
