// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// oldest is the first version of Redis that has what the script uses: HRANDFIELD.
var oldest = [2]int{6, 2}

// check warns of a server that may lose totals, or is too old. What it may not ask, as on many a hosted server, it
// tells at debug level.
func check(ctx context.Context, client redis.UniversalClient, logger *zap.Logger) {
	for _, c := range []func(context.Context, redis.UniversalClient) (warning string, err error){checkVersion, checkEviction, checkPersistence} {
		switch warning, err := c(ctx, client); {
		case err != nil:
			logger.Debug("A setting of the server could not be checked", zap.Error(err))
			if classify(err).absent {
				return // the others neither
			}
		case warning != "":
			logger.Warn(warning)
		}
	}
}

func checkVersion(ctx context.Context, client redis.UniversalClient) (string, error) {
	info, err := client.Info(ctx, "server").Result()
	if err != nil {
		return "", err
	}
	version := infoField(info, "redis_version") // Valkey's is that of the Redis it is compatible with
	if version == "" {
		return "", errors.New("INFO has no redis_version")
	}
	if isOld(version) {
		return fmt.Sprintf("The server is too old: it is Redis %s, and %d.%d or Valkey is needed.", version, oldest[0], oldest[1]), nil
	}
	return "", nil
}

func isOld(version string) bool {
	parts := strings.SplitN(version, ".", 3)
	var numbers [2]int
	for i := range min(len(parts), 2) {
		numbers[i], _ = strconv.Atoi(parts[i]) // what is no number is old
	}
	return numbers[0] < oldest[0] || numbers[0] == oldest[0] && numbers[1] < oldest[1]
}

func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func checkEviction(ctx context.Context, client redis.UniversalClient) (string, error) {
	settings, err := client.ConfigGet(ctx, "maxmemory*").Result()
	if err != nil {
		return "", err
	}
	if policy := settings["maxmemory-policy"]; settings["maxmemory"] != "0" && policy != "noeviction" {
		return fmt.Sprintf("The server may drop totals when its memory is full: `maxmemory-policy` is %s; set it to noeviction.", policy), nil
	}
	return "", nil
}

func checkPersistence(ctx context.Context, client redis.UniversalClient) (string, error) {
	settings := map[string]string{}
	for _, name := range []string{"save", "appendonly"} {
		found, err := client.ConfigGet(ctx, name).Result()
		if err != nil {
			return "", err
		}
		settings[name] = found[name]
	}
	if settings["save"] == "" && settings["appendonly"] != "yes" {
		return "The server keeps nothing over a restart: neither `appendonly` nor `save` is set. What was counted by processes that are gone would be lost.", nil
	}
	return "", nil
}
