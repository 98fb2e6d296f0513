"""A statsd's config.js → settings: `literal` reads the JavaScript, `settings` says what of it is taken."""
