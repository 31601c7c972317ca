package deploy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// containersVariable is set to have the tests with containers run: they take minutes, and need a Docker engine and root.
const containersVariable = "DEPLOY_CONTAINERS"

// patience is how long one step of the cluster may take on a busy machine.
const patience = 90 * time.Second

// needContainers skips the test, and says why, where it cannot run.
func needContainers(t *testing.T) {
	t.Helper()
	if os.Getenv(containersVariable) == "" {
		t.Skipf("skipped: %s is not set; .ci/run sets it", containersVariable)
	}
	for _, args := range [][]string{{"docker", "info"}, {"docker-compose", "version"}} {
		if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Skipf("skipped: %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// run runs a program and returns what it prints.
func run(t *testing.T, environ []string, name string, args ...string) string {
	t.Helper()
	out, err := tryRun(t, environ, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

func tryRun(t *testing.T, environ []string, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, name, args...)
	command.Env = append(os.Environ(), environ...)
	out, err := command.CombinedOutput()
	return string(out), err
}

// await waits until holds, and says what it waited for if that never comes.
func await(t *testing.T, what string, holds func() (string, bool)) {
	t.Helper()
	var last string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(250 * time.Millisecond) {
		var ok bool
		if last, ok = holds(); ok {
			return
		}
	}
	t.Fatalf("not within %v: %s\n%s", patience, what, last)
}

// composition is the compose file as one run of the test uses it.
type composition struct {
	t       *testing.T
	project string
	environ []string // of docker-compose
	files   []string
	folder  string // certificates, the program of the image, quickstart
	ports   []string
}

var nodeNames = []string{"node1", "node2", "node3"}

func newComposition(t *testing.T, image string) *composition {
	t.Helper()
	c := &composition{t: t, project: fmt.Sprintf("profilenodetest%d", os.Getpid()), files: []string{"compose/docker-compose.yaml"}, folder: t.TempDir()}
	for i := range nodeNames {
		port, http := strconv.Itoa(17400+10*i), strconv.Itoa(17403+10*i)
		c.ports = append(c.ports, "127.0.0.1:"+port)
		c.environ = append(c.environ, fmt.Sprintf("NODE%d_PORT=%s", i+1, port), fmt.Sprintf("NODE%d_HTTP_PORT=%s", i+1, http))
	}
	c.environ = append(c.environ, "PROFILENODE_IMAGE="+image, "COMPOSE_PROJECT_NAME="+c.project)
	t.Cleanup(func() {
		if t.Failed() {
			logs, _ := tryRun(t, c.environ, "docker-compose", "-f", c.files[0], "logs", "--no-color", "--tail", "60")
			t.Logf("logs of the nodes:\n%s", logs)
		}
		if out, err := tryRun(t, c.environ, "docker-compose", "-f", c.files[0], "down", "-v", "--timeout", "20"); err != nil {
			t.Errorf("remove containers: %v\n%s", err, out)
		}
	})
	return c
}

// do runs docker-compose.
func (c *composition) do(args ...string) string {
	c.t.Helper()
	var all []string
	for _, file := range c.files {
		all = append(all, "-f", file)
	}
	return run(c.t, c.environ, "docker-compose", append(all, args...)...)
}

func (c *composition) container(service string) string {
	c.t.Helper()
	return strings.TrimSpace(c.do("ps", "-q", service))
}

// awaitHealthy waits until the engine calls every node healthy, which it learns from profilenode health --ready.
func (c *composition) awaitHealthy(services ...string) {
	c.t.Helper()
	for _, service := range services {
		container := c.container(service)
		await(c.t, service+" is healthy", func() (string, bool) {
			out, err := tryRun(c.t, nil, "docker", "inspect", "--format", "{{.State.Health.Status}} {{json .State.Health.Log}}", container)
			return out, err == nil && strings.HasPrefix(out, "healthy ")
		})
	}
}

// takeCertificates copies the certificates out of their volume, as the README says.
func (c *composition) takeCertificates() {
	c.t.Helper()
	if err := os.RemoveAll(filepath.Join(c.folder, "certs")); err != nil {
		c.t.Fatal(err)
	}
	run(c.t, nil, "docker", "cp", c.container("node1")+":/certs", filepath.Join(c.folder, "certs"))
}

// clientEnviron are the variables of a client on the host, with a certificate.
func (c *composition) clientEnviron(name string) []string {
	file := func(name string) string { return filepath.Join(c.folder, "certs", name) }
	return []string{
		"PROFILENODE_ADDR=" + strings.Join(c.ports, ","), "PROFILENODE_TLS_CA=" + file("ca.crt"),
		"PROFILENODE_TLS_CERT=" + file(name+".crt"), "PROFILENODE_TLS_KEY=" + file(name+".key"),
	}
}

// inside runs an operator's command in the nodes' network.
func (c *composition) inside(args ...string) (string, error) {
	c.t.Helper()
	return tryRun(c.t, nil, "docker", append(append([]string{"run", "--rm", "--network", c.project + "_cluster"}, c.insideFlags("operator")...), args...)...)
}

// insideFlags are flags of docker run, the image last, for a client in the nodes' network.
func (c *composition) insideFlags(name string) []string {
	return []string{
		"-v", c.project + "_certificates:/certs:ro", "--read-only", "--cap-drop", "ALL", "--no-healthcheck",
		"-e", "PROFILENODE_ADDR=node1:7400,node2:7400,node3:7400", "-e", "PROFILENODE_TLS_CA=/certs/ca.crt",
		"-e", "PROFILENODE_TLS_CERT=/certs/" + name + ".crt", "-e", "PROFILENODE_TLS_KEY=/certs/" + name + ".key", imageOf(c.environ),
	}
}

func imageOf(environ []string) string {
	image := ""
	for _, variable := range environ {
		if value, ok := strings.CutPrefix(variable, "PROFILENODE_IMAGE="); ok {
			image = value
		}
	}
	return image
}

// statusNode is a node as profilenode status --json shows it.
type statusNode struct {
	Reachable bool
	State     string
	Version   string
	Client    string `json:"clients"`
}

// nodesIn reads what profilenode status --json printed.
func nodesIn(text string) (nodes []statusNode, leader string) {
	var status struct{ Nodes []statusNode }
	if json.Unmarshal([]byte(text), &status) != nil {
		return nil, ""
	}
	for _, n := range status.Nodes {
		if n.State == "leader" {
			leader = n.Client
		}
	}
	return status.Nodes, leader
}
