// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package options

import (
	"fmt"
	"reflect"

	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/configtls"
	"go.opentelemetry.io/collector/scraper/scraperhelper"
)

// borrowing is a part of a configuration that the Collector defines and describes.
type borrowing struct {
	name, link string
	described  []description // those that have a default or a range of tally's
	hasMore    bool          // than those
}

type description struct{ name, valid, text string }

// elsewhere returns the words for the options that are not described here.
func (b borrowing) elsewhere(path []string) string {
	if len(path) > 0 {
		return fmt.Sprintf("all of [%s](%s)", b.name, b.link)
	}
	return fmt.Sprintf("all others of [%s](%s)", b.name, b.link)
}

const configFolder = "https://github.com/open-telemetry/opentelemetry-collector/tree/main/config/"

var borrowed = map[reflect.Type]borrowing{
	reflect.TypeFor[confighttp.ServerConfig](): {
		name: "confighttp", link: configFolder + "confighttp#server-configuration", hasMore: true,
		described: []description{
			{"endpoint", "host:port", "Address to listen on. Take a port below 32768: Linux uses those above for outgoing connections."},
			{"read_header_timeout", "1ms or more", "Longest time to read the header of a request."},
			{"read_timeout", "1ms or more", "Longest time to read a request."},
			{"write_timeout", "1ms or more", "Longest time to write an answer, or one event of a live stream."},
		},
	},
	reflect.TypeFor[configtls.ClientConfig](): {
		name: "configtls", link: configFolder + "configtls#client-configuration", hasMore: true,
	},
	reflect.TypeFor[scraperhelper.ControllerConfig](): {
		name: "scraperhelper",
		described: []description{
			{"collection_interval", "1ms or more", "Time between two emissions."},
			{"initial_delay", "0, or 1ms or more", "Time before the first emission. 0 = no delay."},
			{"timeout", "0, or 1ms or more", "Longest time of one collection. 0 disables the limit."},
		},
	},
}
