"""Files in and out: foreign formats, the dataset made of them, crops drawn from it, samples written back."""
