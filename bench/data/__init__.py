"""Read LaMP data, turn it into users and prompts."""
