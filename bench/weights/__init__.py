"""Files of models: which commit of the hub they are, and whether they are whole."""
