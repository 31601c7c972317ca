package client

// report says what went wrong where no call of the game returns it.
func (c *Client) report(e *Error) {
	c.config.Log.Warn(e.Error(), "act", e.Act, "profile", e.Ref.String(), "code", e.Code)
}
