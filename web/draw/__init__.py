"""Small pictures drawn by the server as SVG: they need no script, and their colours are classes of the style sheet."""
