// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redistest

import (
	"os"
	"strconv"
	"time"

	"github.com/logtally/tallyprocessor/internal/faultproxy"
)

// DistanceVariable is the environment variable that moves all servers away from their clients, such as "5ms" each way,
// and up to half as much more by chance; empty = they are near. Clients find the others of a group at the same
// distance; servers and redis-cli do not.
const DistanceVariable = "TALLY_TEST_DISTANCE"

// Far says whether servers are away from their clients.
func Far() bool { return os.Getenv(DistanceVariable) != "" }

// moveAway puts a proxy before the server.
func (s *Server) moveAway() {
	s.t.Helper()
	if !Far() {
		return
	}
	distance, err := time.ParseDuration(os.Getenv(DistanceVariable))
	if err != nil {
		s.t.Fatalf("read %s: %v", DistanceVariable, err)
	}
	s.front = faultproxy.Start(s.t, s.Near(), uint64(s.port))
	s.front.Delay(distance, distance/2)
}

// announced returns the arguments by which a server tells others where clients find it.
func (s *Server) announced() []string {
	if s.front == nil {
		return nil
	}
	port := strconv.Itoa(s.front.Port())
	args := []string{"--replica-announce-port", port}
	for _, arg := range s.args {
		if arg == "--cluster-enabled" {
			args = append(args, "--cluster-announce-ip", "127.0.0.1", "--cluster-announce-port", port, "--cluster-announce-bus-port", strconv.Itoa(s.port+10_000))
		}
	}
	return args
}
