package deploy_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const mostImageBytes = 30_000_000

// buildImage builds the image from this tree under a version label.
func buildImage(t *testing.T, version string) (image string) {
	t.Helper()
	image = fmt.Sprintf("profilenode:%s-%d", version, os.Getpid())
	out := run(t, []string{"VERSION=" + version, "COMMIT=0123456789ab"}, "image/build", image)
	t.Cleanup(func() { _, _ = tryRun(t, nil, "docker", "rmi", "--force", image) })
	size, err := strconv.Atoi(strings.TrimSpace(run(t, nil, "docker", "image", "inspect", "--format", "{{.Size}}", image)))
	if err != nil || size > mostImageBytes {
		t.Errorf("the image has %d bytes (%v), at most %d are allowed:\n%s", size, err, mostImageBytes, out)
	}
	label := run(t, nil, "docker", "image", "inspect", "--format",
		`{{index .Config.Labels "org.opencontainers.image.version"}} {{index .Config.Labels "org.opencontainers.image.revision"}} {{.Config.User}}`, image)
	if want := version + " 0123456789ab 65534:65534\n"; label != want {
		t.Errorf("labels and user: got %q, want %q", label, want)
	}
	return image
}

// buildLoad builds an image of the load beside it.
func buildLoad(t *testing.T) (image string) {
	t.Helper()
	image = fmt.Sprintf("profilenode-load:%d", os.Getpid())
	folder := t.TempDir()
	// Built as the image is, so that most of it is built already.
	run(t, []string{"CGO_ENABLED=0"}, "go", "build", "-buildvcs=false", "-trimpath", "-tags", "grpcnotrace", "-o", filepath.Join(folder, "load"), "./internal/load")
	if err := os.WriteFile(filepath.Join(folder, "Dockerfile"), []byte("FROM scratch\nCOPY load /load\nUSER 65534:65534\nENTRYPOINT [\"/load\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, []string{"DOCKER_BUILDKIT=0"}, "docker", "build", "--quiet", "--tag", image, folder)
	t.Cleanup(func() { _, _ = tryRun(t, nil, "docker", "rmi", "--force", image) })
	return image
}

// From the image to a cluster that serves clients on the host, and then game servers in containers under load, while what happens to
// clusters happens to it.
func TestContainers(t *testing.T) {
	needContainers(t)
	first, second := buildImage(t, "1.0.0-test"), buildImage(t, "1.0.1-test")
	loadImage := buildLoad(t)
	c := newComposition(t, first)
	c.do("up", "-d")
	c.awaitHealthy(nodeNames...)
	c.takeCertificates()
	t.Run("Confined", c.testConfined)
	t.Run("FromOutside", c.testFromOutside)
	if t.Failed() {
		return
	}

	c.files = append(c.files, "compose/inside.yaml")
	c.do("up", "-d")
	c.awaitHealthy(nodeNames...)
	load := c.startLoad(loadImage)
	for _, step := range []struct {
		name string
		do   func(t *testing.T)
	}{
		{"OneContainerIsKilled", func(t *testing.T) {
			leader := c.leaderInside()
			run(t, nil, "docker", "kill", c.container(leader))
			load.awaitProgress(t)
			run(t, nil, "docker", "start", c.container(leader))
			c.awaitHealthy(leader)
		}},
		{"OneIsCutFromTheNetwork", func(t *testing.T) {
			leader := c.leaderInside()
			run(t, nil, "docker", "network", "disconnect", c.project+"_cluster", c.container(leader))
			load.awaitProgress(t)
			run(t, nil, "docker", "network", "connect", "--alias", leader, c.project+"_cluster", c.container(leader))
			c.awaitHealthy(leader)
		}},
		{"AllGetAnotherBuild", func(t *testing.T) {
			leader := c.leaderInside()
			c.environ = append(c.environ, "PROFILENODE_IMAGE="+second)
			followers := slices.DeleteFunc(slices.Clone(nodeNames), func(name string) bool { return name == leader })
			for _, node := range append(followers, leader) { // the leader last
				c.do("up", "-d", "--no-deps", node)
				c.awaitHealthy(node)
				c.awaitFollowersInside()
			}
			nodes, _ := c.statusInside()
			for _, n := range nodes {
				if n.Version != "1.0.1-test" {
					t.Errorf("%s runs version %s", n.Client, n.Version)
				}
			}
		}},
		{"AllCertificatesAreRenewed", func(t *testing.T) {
			c.do("run", "--rm", "--no-deps", "certificates", "cert", "renew", "--dir=/certs", "--new-key", "node1", "node2", "node3", "operator", "game")
			c.do("kill", "-s", "SIGHUP", "node1", "node2", "node3")
			for _, node := range nodeNames {
				container := c.container(node)
				await(t, node+" uses the new certificates", func() (string, bool) {
					out, _ := tryRun(t, nil, "docker", "logs", "--tail", "30", container)
					return out, strings.Contains(out, "certificates read again, new connections use the new ones")
				})
			}
			if out, err := c.inside("status"); err != nil {
				t.Errorf("a client with a new certificate: %v\n%s", err, out)
			}
			load.awaitProgress(t)
		}},
		{"AllStopAndStart", func(t *testing.T) {
			c.do("stop", "node1", "node2", "node3")
			c.do("start", "node1", "node2", "node3")
			c.awaitHealthy(nodeNames...)
		}},
	} {
		if !t.Run(step.name, func(t *testing.T) { step.do(t); load.awaitProgress(t) }) {
			return
		}
	}
	load.finish(t)
	await(t, "the nodes hold the same", func() (string, bool) { out, err := c.inside("digest"); return out, err == nil })
}

// testConfined looks at what the kernel lets the nodes do.
func (c *composition) testConfined(t *testing.T) {
	for _, node := range nodeNames {
		out := run(t, nil, "docker", "inspect", "--format", "{{.State.Pid}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.Memory}}", c.container(node))
		var pid, memory int
		var readOnly bool
		if _, err := fmt.Sscan(out, &pid, &readOnly, &memory); err != nil || !readOnly || memory == 0 {
			t.Errorf("%s: %q, %v", node, out, err)
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"\nUid:\t65534\t65534\t65534\t65534\n", "\nCapEff:\t0000000000000000\n", "\nCapBnd:\t0000000000000000\n", "\nNoNewPrivs:\t1\n"} {
			if !strings.Contains(string(status), want) {
				t.Errorf("%s: %q is not in\n%s", node, want, status)
			}
		}
		limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
		if err != nil || !strings.Contains(string(limits), "8192                 8192                 files") {
			t.Errorf("%s: %v\n%s", node, err, limits)
		}
	}
}

// testFromOutside is a client on the host, with a certificate and without, through a change of the leader.
func (c *composition) testFromOutside(t *testing.T) {
	program, quickstart := filepath.Join(c.folder, "profilenode"), filepath.Join(c.folder, "quickstart")
	run(t, nil, "docker", "cp", c.container("node1")+":/profilenode", program)
	run(t, []string{"CGO_ENABLED=0"}, "go", "build", "-buildvcs=false", "-trimpath", "-tags", "grpcnotrace", "-o", quickstart, "../examples/quickstart")

	nodes, leader := nodesIn(run(t, c.clientEnviron("operator"), program, "status", "--json"))
	if len(nodes) != 3 || !slices.Contains(c.ports, leader) {
		t.Fatalf("status: %+v, led by %s", nodes, leader)
	}
	t.Run("WithoutACertificate", func(t *testing.T) {
		bare := slices.DeleteFunc(c.clientEnviron("operator"), func(v string) bool {
			return strings.HasPrefix(v, "PROFILENODE_TLS_CERT=") || strings.HasPrefix(v, "PROFILENODE_TLS_KEY=")
		})
		out, err := tryRun(t, bare, program, "status", "--timeout", "5s")
		if err == nil || !strings.Contains(out, "it does not accept this side's certificate") {
			t.Errorf("the client says (%v)\n%s", err, out)
		}
		await(t, "a node's log says why", func() (string, bool) {
			out := c.do("logs", "--no-color", "--tail", "50", "node1", "node2", "node3")
			return out, strings.Contains(out, "it shows no certificate")
		})
	})
	if out := run(t, c.clientEnviron("game"), quickstart); !strings.Contains(out, "stored at revision") {
		t.Errorf("quickstart: %s", out)
	}
	at := nodeNames[slices.Index(c.ports, leader)]
	c.do("stop", at)
	out := run(t, c.clientEnviron("game"), quickstart)
	if !strings.Contains(out, "stored at revision") {
		t.Errorf("quickstart without the first leader: %s", out)
	}
	if log := c.do("logs", "--no-color", "--tail", "20", at); !strings.Contains(log, "stopped") || strings.Contains(log, "not stopped in order") {
		t.Errorf("%s did not stop in order:\n%s", at, log)
	}
	c.do("start", at)
	c.awaitHealthy(at)
}

func (c *composition) statusInside() (nodes []statusNode, leader string) {
	c.t.Helper()
	await(c.t, "a leader", func() (string, bool) {
		out, _ := c.inside("status", "--json")
		nodes, leader = nodesIn(out[max(0, strings.Index(out, "{")):])
		return out, leader != ""
	})
	return nodes, leader
}

// leaderInside is the service that leads.
func (c *composition) leaderInside() string {
	c.t.Helper()
	_, leader := c.statusInside()
	name, _, _ := strings.Cut(leader, ":")
	return name
}

// awaitFollowersInside waits until all three nodes answer, so that the next may be stopped.
func (c *composition) awaitFollowersInside() {
	c.t.Helper()
	await(c.t, "three nodes that answer", func() (string, bool) {
		nodes, _ := c.statusInside()
		up := 0
		for _, n := range nodes {
			if n.Reachable && (n.State == "leader" || n.State == "follower") {
				up++
			}
		}
		return fmt.Sprint(nodes), up == 3
	})
}

// loadContainer is a game server with a hundred sessions.
type loadContainer struct{ id string }

func (c *composition) startLoad(image string) *loadContainer {
	c.t.Helper()
	flags := c.insideFlags("game")
	flags[len(flags)-1] = image
	args := append([]string{"run", "-d", "--network", c.project + "_cluster"}, flags...)
	load := &loadContainer{strings.TrimSpace(run(c.t, nil, "docker", append(args, "-sessions", "100")...))}
	c.t.Cleanup(func() {
		if c.t.Failed() {
			out, _ := tryRun(c.t, nil, "docker", "logs", "--tail", "40", load.id)
			c.t.Logf("the load says\n%s", out)
		}
		_, _ = tryRun(c.t, nil, "docker", "rm", "-f", load.id)
	})
	load.awaitProgress(c.t)
	return load
}

// saves is how many saves were acknowledged.
func (l *loadContainer) saves(t *testing.T) (count int, text string) {
	t.Helper()
	text, _ = tryRun(t, nil, "docker", "logs", "--tail", "20", l.id)
	for line := range strings.SplitSeq(text, "\n") {
		_, _ = fmt.Sscanf(line, "saves %d", &count)
	}
	return count, text
}

// awaitProgress waits until every session could have saved twice from now on.
func (l *loadContainer) awaitProgress(t *testing.T) {
	t.Helper()
	before, _ := l.saves(t)
	await(t, "the load saves", func() (string, bool) { now, text := l.saves(t); return text, now >= before+200 })
}

// finish ends the load, which then reads every profile back.
func (l *loadContainer) finish(t *testing.T) {
	t.Helper()
	run(t, nil, "docker", "stop", "--time", "120", l.id)
	code := strings.TrimSpace(run(t, nil, "docker", "wait", l.id))
	out, _ := tryRun(t, nil, "docker", "logs", "--tail", "5", l.id)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var report struct {
		Sessions, Saves int
		Longest         float64 `json:"longest_save_seconds"`
		Faults          []string
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &report); err != nil || code != "0" || len(report.Faults) > 0 || report.Sessions != 100 {
		t.Errorf("the load ended with code %s and reports (%v)\n%s", code, err, out)
		return
	}
	t.Logf("%d saves of %d sessions, none lost, no session dropped; the longest took %.1f s", report.Saves, report.Sessions, report.Longest)
}
