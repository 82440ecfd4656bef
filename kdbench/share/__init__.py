"""From a results folder to a site that anyone may read: drawn, scrubbed, checked, and sent."""
