"""How fast a program finds values: measure.py presidio|detect-secrets SECONDS FILE...

Each FILE is a JSON list of texts, which are taken in turn until SECONDS are over. Prints one JSON object: bytes a second
of the processor's time by the FILE's name. One thread; neither the network nor a model is asked.
"""

import functools
import itertools
import json
import pathlib
import sys
import tempfile
import time


def presidio():
    """What Presidio loads for English but the recogniser of names, which needs a model: the pipeline only splits words."""
    import spacy
    import tldextract
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    class Blank(SpacyNlpEngine):
        def load(self):
            self.nlp = {"en": spacy.blank("en")}

    # The list of public suffixes that comes with the package, not the newest.
    tldextract.extract = tldextract.TLDExtract(suffix_list_urls=())
    registry = RecognizerRegistry()
    registry.load_predefined_recognizers(languages=["en"])
    registry.remove_recognizer("SpacyRecognizer")
    engine = Blank()
    engine.load()
    analyzer = AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=["en"])
    return lambda text: text, lambda text: analyzer.analyze(text=text, language="en")


def detect_secrets():
    """All plugins and the default filters, over a file for each text."""
    from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
    from detect_secrets.core.scan import scan_file
    from detect_secrets.settings import get_settings

    plugins = get_mapping_from_secret_type_to_class().values()
    get_settings().configure_plugins([{"name": plugin.__name__} for plugin in plugins])
    directory = tempfile.TemporaryDirectory()
    path = pathlib.Path(directory.name) / "text.txt"

    def prepare(text):
        path.write_text(text)
        return directory

    return prepare, lambda _directory: list(scan_file(str(path)))


def rate(prepare, scan, texts, seconds):
    scan(prepare(texts[0]))
    size, spent = 0, 0.0
    for text in itertools.cycle(texts):
        prepared = prepare(text)
        start = time.thread_time()
        scan(prepared)
        spent += time.thread_time() - start
        size += len(text.encode())
        if spent > seconds:
            return size / spent


prepare, scan = {"presidio": presidio, "detect-secrets": detect_secrets}[sys.argv[1]]()
measure = functools.partial(rate, prepare, scan)
files = [pathlib.Path(name) for name in sys.argv[3:]]
print(json.dumps({file.stem: measure(json.loads(file.read_text()), float(sys.argv[2])) for file in files}))
