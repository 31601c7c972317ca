package metrics

import (
	"regexp"

	"github.com/prometheus/client_golang/prometheus"
)

// Names lists this node's own metrics.
func (m *Metrics) Names() (names []string) {
	for _, c := range m.own {
		about := make(chan *prometheus.Desc, 100)
		c.Describe(about)
		close(about)
		for d := range about {
			names = append(names, regexp.MustCompile(`fqName: "([^"]+)"`).FindStringSubmatch(d.String())[1])
		}
	}
	return names
}
