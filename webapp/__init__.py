"""The app in a browser: models, previews, work in the background, and a module per tab. `python app.py` starts it."""
