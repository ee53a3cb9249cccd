"""Every word that the app shows, in English and Spanish."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, get_args

Language = Literal["es", "en"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

_SEPARATORS = {"en": (",", "."), "es": ("\u202f", ",")}  # of thousands and of decimals


class Text(NamedTuple):
    """One text in both languages; neither can be left out."""

    en: str
    es: str


class Translator:
    """Gives the texts of one language, and numbers as it writes them."""

    def __init__(self, language: Language) -> None:
        self.language = language

    def __call__(self, key: str, /, **values: object) -> str:
        """Return the text of a key, with values put into its {placeholders}.

        Raises:
            KeyError: the catalogue has no such text.
        """
        text: str = getattr(TEXTS[key], self.language)
        return text.format(**values) if values else text

    def number(self, value: float | None, decimals: int = 0) -> str:
        """Return a number with the separators of the language; an en dash for none."""
        if value is None or not math.isfinite(value):
            return "–"
        thousands, decimal = _SEPARATORS[self.language]
        plain = f"{value:,.{decimals}f}"
        return plain.replace(",", "\0").replace(".", decimal).replace("\0", thousands)

    def percent(self, share: float | None, decimals: int = 1) -> str:
        """Return a share, 0 to 1, as a percentage; an en dash for none."""
        if share is None or not math.isfinite(share):
            return "–"
        return f"{self.number(100 * share, decimals)} %"


def choose_language(locale: str | None) -> Language:
    """Return the language for a browser's locale, such as "es-CL"."""
    return "es" if (locale or "").lower().startswith("es") else "en"


TEXTS: dict[str, Text] = {
    # The app
    "app_title": Text("Heartbeats from ECG spectrograms", "Latidos en espectrogramas de ECG"),
    "page_clinical": Text("Clinical report", "Informe clínico"),
    "page_technical": Text("Technical report", "Informe técnico"),
    "language": Text("Language", "Idioma"),
    "disclaimer": Text(
        "Research software. Not a medical device: not for diagnosis, not for clinical use.",
        "Software de investigación. No es un dispositivo médico: no apto para diagnóstico ni para "
        "uso clínico.",
    ),
    # Classes
    "call_N": Text("normal", "normal"),
    "call_S": Text("supraventricular ectopic", "ectópico supraventricular"),
    "call_V": Text("ventricular ectopic", "ectópico ventricular"),
    "call_F": Text("fusion of N and V", "fusión de N y V"),
    "call_Q": Text("paced or unclassifiable", "estimulado o inclasificable"),
    "call_?": Text("no class (below the threshold)", "sin clase (bajo el umbral)"),
    # Choosing a recording
    "clinical_title": Text("Clinical report", "Informe clínico"),
    "choose_recording": Text("Choose a recording", "Elegir un registro"),
    "nothing_chosen": Text(
        "Choose a sample or upload your own recording, and press Analyse.",
        "Elija un ejemplo o suba su propio registro y pulse Analizar.",
    ),
    "source": Text("Where from", "Origen"),
    "source_sample": Text("Samples", "Ejemplos"),
    "source_upload": Text("Your own recording", "Su propio registro"),
    "database": Text("Database", "Base de datos"),
    "group_synthetic": Text("Simulated recordings", "Registros simulados"),
    "group_mitdb": Text("MIT-BIH Arrhythmia", "MIT-BIH Arritmia"),
    "group_svdb": Text(
        "MIT-BIH Supraventricular Arrhythmia", "MIT-BIH Arritmia supraventricular"
    ),
    "record": Text("Record", "Registro"),
    "upload_label": Text(
        "WFDB record (a ZIP, or its files together), EDF or CSV",
        "Registro WFDB (un ZIP o todos sus archivos), EDF o CSV",
    ),
    "upload_help": Text(
        "At most {limit} MB a file. A ZIP holds one recording.",
        "Como máximo {limit} MB por archivo. Un ZIP contiene un registro.",
    ),
    "upload_browse": Text("Choose files", "Elegir archivos"),
    "upload_drop": Text(
        "or drop them here. At most {limit} MB each: ZIP, HEA + DAT (+ ATR), EDF, CSV",
        "o arrástrelos aquí. Máximo {limit} MB cada uno: ZIP, HEA + DAT (+ ATR), EDF, CSV",
    ),
    "upload_privacy": Text(
        "Files stay on the computer that runs this app. They are removed once they are read, and "
        "what was found goes when you close the page.",
        "Los archivos no salen del equipo que ejecuta esta aplicación. Se eliminan una vez leídos, "
        "y los resultados desaparecen al cerrar la página.",
    ),
    "csv_rate": Text(
        "Sampling rate, Hz (leave empty if a column gives the time)",
        "Frecuencia de muestreo, Hz (déjela vacía si una columna da el tiempo)",
    ),
    "bad_recording": Text(
        "This recording cannot be used. Check that it is complete and of a supported format: WFDB, "
        "EDF or CSV.",
        "No se puede usar este registro. Compruebe que esté completo y en un formato admitido: "
        "WFDB, EDF o CSV.",
    ),
    "error_detail": Text("What was found:", "Detalle (en inglés):"),
    "recording_facts": Text(
        "**{name}** · {duration} · {fs} Hz · leads: {leads}",
        "**{name}** · {duration} · {fs} Hz · derivaciones: {leads}",
    ),
    "lead": Text("Lead", "Derivación"),
    "lead_help": Text(
        "The model learnt from lead II (MLII) where a record has it.",
        "El modelo aprendió con la derivación II (MLII) cuando el registro la tiene.",
    ),
    "at_reference": Text(
        "Take the R peaks of the {n} reference beats",
        "Usar los picos R de los {n} latidos de referencia",
    ),
    "at_reference_help": Text(
        "Otherwise R peaks are detected, as in a recording without annotations.",
        "Si no, los picos R se detectan, como en un registro sin anotaciones.",
    ),
    "analyse": Text("Analyse", "Analizar"),
    "stage_read": Text("Reading the signal", "Leyendo la señal"),
    "stage_detect": Text("Finding the beats", "Buscando los latidos"),
    "stage_classify": Text("Classifying the beats", "Clasificando los latidos"),
    "no_weights": Text(
        "There is no model to classify with. Start the app with the weights of a training: "
        "`cnns-spectrograms app --model PATH`.",
        "No hay un modelo con el que clasificar. Inicie la aplicación con los pesos de un "
        "entrenamiento: `cnns-spectrograms app --model RUTA`.",
    ),
    # The study
    "study_title": Text(
        "Record {name}, lead {lead}, {duration}", "Registro {name}, derivación {lead}, {duration}"
    ),
    "synthetic_recording": Text(
        "This recording is simulated. It is not of a patient.",
        "Este registro es simulado. No es de un paciente.",
    ),
    "synthetic_model": Text(
        "This model was trained on simulated recordings: it says nothing about hearts.",
        "Este modelo se entrenó con registros simulados: no dice nada sobre corazones.",
    ),
    "no_beats": Text(
        "No beat was found in this lead. Choose another lead.",
        "No se encontró ningún latido en esta derivación. Elija otra.",
    ),
    "threshold": Text("Least probability to call a class", "Probabilidad mínima para dar una clase"),
    "threshold_help": Text(
        "A beat whose most probable class stays below it is not called. At 0 every beat is.",
        "Si la clase más probable de un latido no la alcanza, no se le da clase. Con 0, todos "
        "reciben una.",
    ),
    "beats": Text("Beats", "Latidos"),
    "heart_rate": Text("Median heart rate", "Frecuencia cardíaca mediana"),
    "per_minute": Text("1/min", "lpm"),
    "burden_of": Text("Burden {name}", "Carga {name}"),
    "unsure": Text("Not called", "Sin clase"),
    # The viewer
    "whole_recording": Text("Whole recording", "Registro completo"),
    "overview_alt": Text(
        "Heart rate over the whole recording, and one lane of beats for each class",
        "Frecuencia cardíaca de todo el registro y una franja de latidos por clase",
    ),
    "strip_alt": Text(
        "ECG on paper of 25 mm/s and 10 mm/mV, its beats marked by class",
        "ECG en papel de 25 mm/s y 10 mm/mV, con los latidos marcados por clase",
    ),
    "beat_click": Text("click to look into this beat", "pulse para ver este latido"),
    "reference_beat": Text("reference", "referencia"),
    "previous_abnormal": Text("Previous abnormal", "Anormal anterior"),
    "next_abnormal": Text("Next abnormal", "Anormal siguiente"),
    "next_disagreement": Text("Next disagreement", "Discrepancia siguiente"),
    "previous_beat": Text("Previous beat", "Latido anterior"),
    "next_beat": Text("Next beat", "Latido siguiente"),
    "back": Text("Back", "Atrás"),
    "forward": Text("Forward", "Adelante"),
    "zoom_in": Text("Show less", "Acercar"),
    "zoom_out": Text("Show more", "Alejar"),
    "shortcut_help": Text("{what} (key {key})", "{what} (tecla {key})"),
    "scale": Text("Scale", "Escala"),
    "scale_all": Text("all", "todo"),
    "scale_minutes": Text("{n} min", "{n} min"),
    "scale_speed": Text("{speed} mm/s", "{speed} mm/s"),
    "strip_scale": Text(
        "{start} to {stop} · {speed} mm/s, 10 mm/mV (1 mm as the browser counts it, 96 px an inch) "
        "· drag to move, Ctrl and the wheel to zoom",
        "{start} a {stop} · {speed} mm/s, 10 mm/mV (1 mm según el navegador, 96 px por pulgada) "
        "· arrastre para mover, Ctrl y la rueda para acercar",
    ),
    "reference_line": Text(
        "Letters along the lower edge: the reference.",
        "Letras en el borde inferior: la referencia.",
    ),
    "no_further": Text("There is no further one.", "No hay más."),
    # One beat
    "choose_beat": Text(
        "Click a beat's symbol on the strip to look into it.",
        "Pulse el símbolo de un latido en el trazado para verlo.",
    ),
    "beat_title": Text("Beat {n}, at {time}", "Latido {n}, en {time}"),
    "unsure_beat": Text(
        "No class reaches the threshold.", "Ninguna clase alcanza el umbral."
    ),
    "beat_rr": Text("RR interval before it: {rr} ms", "Intervalo RR previo: {rr} ms"),
    "first_beat": Text("First beat of the recording", "Primer latido del registro"),
    "probabilities_alt": Text(
        "Probabilities of the five classes", "Probabilidades de las cinco clases"
    ),
    "abstain_band": Text("no class below this", "sin clase bajo este valor"),
    "gradcam": Text("Show Grad-CAM", "Mostrar Grad-CAM"),
    "gradcam_help": Text(
        "Which parts of the spectrogram speak for a class, as the network sees it",
        "Qué partes del espectrograma hablan a favor de una clase, según la red",
    ),
    "gradcam_class": Text("for class", "para la clase"),
    "gradcam_caption": Text(
        "Brighter (Grad-CAM) and more orange (behind the signal): speaks more for the class. It "
        "shows where the network looked, coarsely, and not whether it was right.",
        "Más claro (Grad-CAM) y más naranja (tras la señal): habla más a favor de la clase. "
        "Muestra dónde miró la red, a grandes rasgos, y no si acertó.",
    ),
    "gradcam_empty": Text(
        "Nothing in this image speaks for this class.",
        "Nada en esta imagen habla a favor de esta clase.",
    ),
    "beat_alt": Text(
        "Signal, spectrogram and Grad-CAM of the beat, on one time axis",
        "Señal, espectrograma y Grad-CAM del latido, en el mismo eje de tiempo",
    ),
    "axis_signal": Text("Signal, mV", "Señal, mV"),
    "axis_spectrogram": Text("Spectrogram, Hz", "Espectrograma, Hz"),
    "axis_gradcam": Text("Grad-CAM, Hz", "Grad-CAM, Hz"),
    "axis_time": Text("Time from the R peak, s", "Tiempo desde el pico R, s"),
    # Tables and downloads
    "burden": Text("Burden by class", "Carga por clase"),
    "class": Text("Class", "Clase"),
    "share": Text("Share", "Proporción"),
    "runs": Text("Couplets and runs", "Pares y rachas"),
    "no_runs": Text(
        "No two beats of class S or V follow each other.",
        "No hay dos latidos seguidos de clase S o V.",
    ),
    "runs_help": Text(
        "Two or more beats of S or of V one after another, longest first. Choose a row to see it.",
        "Dos o más latidos seguidos de S o de V, los más largos primero. Elija una fila para verla.",
    ),
    "start": Text("Start", "Inicio"),
    "rate": Text("Rate, 1/min", "Frecuencia, lpm"),
    "downloads": Text("Downloads", "Descargas"),
    "download_annotations": Text("Annotations (WFDB)", "Anotaciones (WFDB)"),
    "download_csv": Text("Beats (CSV)", "Latidos (CSV)"),
    "download_json": Text("Summary (JSON)", "Resumen (JSON)"),
    "download_html": Text("Report (HTML)", "Informe (HTML)"),
    "downloads_help": Text(
        "They hold the most probable class of every beat, whatever the threshold above.",
        "Contienen la clase más probable de cada latido, sea cual sea el umbral de arriba.",
    ),
    "provenance": Text(
        "Model {model}, training {fingerprint}, weights {sha256} · cnns_spectrograms {version} · "
        "R peaks: {peaks}",
        "Modelo {model}, entrenamiento {fingerprint}, pesos {sha256} · cnns_spectrograms {version} "
        "· picos R: {peaks}",
    ),
    "peaks_detected": Text("detected", "detectados"),
    "peaks_reference": Text("of the reference", "de la referencia"),
}
