package gossip_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/profilenode/profilenode/gossip"
)

func TestValidate(t *testing.T) {
	key := bytes.Repeat([]byte{1}, 32)
	for _, c := range []struct {
		what   string
		change func(*gossip.Config)
		want   []string // one for each fault; none: valid
	}{
		{"loopback without a key", func(c *gossip.Config) {}, nil},
		{"localhost without a key", func(c *gossip.Config) { c.Bind = "localhost:0" }, nil},
		{"IPv6 loopback without a key", func(c *gossip.Config) { c.Bind = "[::1]:0" }, nil},
		{"beyond loopback with a key", func(c *gossip.Config) { c.Bind, c.Key = "10.1.2.3:7402", key }, nil},
		{"everywhere, a name advertised", func(c *gossip.Config) { c.Bind, c.Advertise, c.Key = ":7402", "n1.example:7402", key }, nil},
		{"beyond loopback without a key, written out", func(c *gossip.Config) { c.Bind, c.Insecure = "10.1.2.3:7402", true }, nil},

		{"no time for a suspect", func(c *gossip.Config) { c.Suspicion = 1 }, []string{"suspicion is 1"}},
		{"beyond loopback without a key", func(c *gossip.Config) { c.Bind = "10.1.2.3:7402" }, []string{"needs a key"}},
		{"advertised beyond loopback", func(c *gossip.Config) { c.Advertise = "10.1.2.3:7402" }, []string{"needs a key"}},
		{"everywhere without a key", func(c *gossip.Config) { c.Bind, c.Advertise = "0.0.0.0:7402", "127.0.0.1:7402" }, []string{"needs a key"}},
		{"everywhere, nothing advertised", func(c *gossip.Config) { c.Bind, c.Key = "[::]:7402", key }, []string{"set advertise"}},
		{"everywhere advertised", func(c *gossip.Config) { c.Advertise, c.Key = "0.0.0.0:7402", key }, []string{"need one address"}},
		{"short key", func(c *gossip.Config) { c.Key = key[:15] }, []string{"key has 15 bytes"}},
		{"host name to bind", func(c *gossip.Config) { c.Bind, c.Key = "n1.example:7402", key }, []string{"IP address or localhost"}},
		{"no port", func(c *gossip.Config) { c.Bind, c.Key = "127.0.0.1", key }, []string{"host:port"}},
		{"long meta", func(c *gossip.Config) { c.Meta = make([]byte, gossip.MaxMeta+1) }, []string{"meta has 512 bytes"}},
		{"nothing at all", func(c *gossip.Config) { *c = gossip.Config{} }, []string{
			"name has 0", "label has 0", "rejoin", "probe", "suspicion", "remember", "host:port", "needs a key",
		}},
	} {
		t.Run(c.what, func(t *testing.T) {
			config := gossip.DefaultConfig()
			config.Name = "node-1.1"
			c.change(&config)
			err := config.Validate()
			if (err == nil) != (len(c.want) == 0) {
				t.Fatalf("Validate: %v, want %d faults", err, len(c.want))
			}
			if err == nil {
				return
			}
			got := strings.Split(err.Error(), "\n")
			if len(got) != len(c.want) {
				t.Fatalf("%d faults, want %d:\n%v", len(got), len(c.want), err)
			}
			for i, want := range c.want {
				if !strings.Contains(got[i], want) {
					t.Errorf("fault %d is %q, want it to say %q", i, got[i], want)
				}
			}
			if p, err := gossip.Open(config); err == nil {
				kill(t, p)
				t.Error("Open took a configuration that Validate refuses")
			}
		})
	}
}
