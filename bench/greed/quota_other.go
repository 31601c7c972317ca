//go:build !linux

package greed

import "errors"

type quota struct{}

func newQuota(float64) (*quota, error) { return nil, errors.New("control groups are Linux's") }

func (*quota) add(int) error { return nil }
func (*quota) remove() error { return nil }
