"""Commands that are refused: the exit code, a piece of the message, and the command."""

COMMANDS = [
    (2, "lr must be a number greater than 0", ["finetune", "--lr", "0"]),
    (2, "lr must be a number greater than 0. Got nan", ["finetune", "--lr", "nan"]),
    (2, "epochs must be a whole number", ["finetune", "--epochs", "0"]),
    (2, "seed must be a whole number", ["finetune", "--seed", "-1"]),
    (2, "rule must be one that ftlab has", ["finetune", "--rule", "Clip(1.0)"]),
    (2, "be a plain value", ["finetune", "--rule", "ClipNorm(__import__('os').system('touch PWNED'))"]),
    (2, "be a rule's name", ["explain", "--rule", "__import__('os').system('touch PWNED')"]),
    (2, "task must be one of", ["finetune", "--data", "reviews", "--task", "mood"]),
    (2, "resume must come with output", ["finetune", "--data", "good", "--model", "bert", "--resume"]),
    (2, "split must be one of train, test", ["evaluate", "tuned", "--data", "good", "--split", "dev"]),
    (2, "inputs must be texts that are not empty", ["predict", "tuned", " "]),
    (1, "file must exist", ["finetune", "--data", "missing.csv"]),
    (1, "be UTF-8 text", ["finetune", "--data", "latin.csv"]),
    (1, "have a column 'body'", ["finetune", "--data", "good", "--text", "body"]),
    (1, "be a model that can be found", ["finetune", "--data", "good", "--model", "maxilm"]),
    (1, "output must be empty or hold a run", ["finetune", "--data", "good", "--output", "good"]),
    (1, "output must be a folder", ["finetune", "--data", "good", "--output", "latin.csv"]),
    (1, "hold config.json", ["predict", "good", "a good film"]),
    (1, "be known from training", ["evaluate", "tuned", "--data", "other.csv"]),
]
