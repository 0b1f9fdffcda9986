"""A fleet of made-up machines: what their agents' pages say, served or asked at scale."""
