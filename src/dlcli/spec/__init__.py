"""What a YAML may say, and what each of its words builds. Importing it loads neither Keras nor NumPy."""
