"""Every word that the app shows, in English and Spanish."""

from __future__ import annotations

import math
import re
import string
from typing import Literal, NamedTuple, get_args

Language = Literal["es", "en"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
LANGUAGE_NAMES: dict[Language, str] = {"es": "Español", "en": "English"}

_MARKDOWN = re.compile(f"[{re.escape(string.punctuation)}]")  # $ and : are of Streamlit's own
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


def escape_markdown(text: str) -> str:
    """Return a text that Streamlit's Markdown shows as it is, in one line.

    Names of recordings and leads are whatever the writer of a file chose; as Markdown they could
    have the browser fetch an image from anywhere.
    """
    return _MARKDOWN.sub(r"\\\g<0>", " ".join(text.split()))


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
    "group_svdb": Text("MIT-BIH Supraventricular Arrhythmia", "MIT-BIH Arritmia supraventricular"),
    "record": Text("Record", "Registro"),
    "upload_label": Text(
        "WFDB record (a ZIP, or its files together), EDF or CSV",
        "Registro WFDB (un ZIP o todos sus archivos), EDF o CSV",
    ),
    "upload_help": Text(
        "At most {limit} MB a file. A ZIP may hold several recordings.",
        "Como máximo {limit} MB por archivo. Un ZIP puede contener varios registros.",
    ),
    "upload_refused": Text(
        "Not accepted: only WFDB, EDF or CSV files of up to {limit} MB are.",
        "No se admite: solo archivos WFDB, EDF o CSV de hasta {limit} MB.",
    ),
    "upload_browse": Text("Choose files", "Elegir archivos"),
    "upload_drop": Text(
        "or drop them here. At most {limit} MB each: ZIP, HEA + DAT (+ ATR), EDF, BDF, CSV, TSV, "
        "TXT",
        "o arrástrelos aquí. Máximo {limit} MB cada uno: ZIP, HEA + DAT (+ ATR), EDF, BDF, CSV, "
        "TSV, TXT",
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
    "threshold": Text(
        "Least probability to call a class", "Probabilidad mínima para dar una clase"
    ),
    "threshold_help": Text(
        "A beat whose most probable class stays below it is not called. At 0 every beat is.",
        "Si la clase más probable de un latido no la alcanza, no se le da clase. Con 0, todos "
        "reciben una.",
    ),
    "beats": Text("Beats", "Latidos"),
    "heart_rate": Text("Median heart rate", "Frecuencia cardíaca mediana"),
    "per_minute": Text("bpm", "lpm"),
    "burden_of": Text("Burden {name}", "Carga {name}"),
    "unsure": Text("Not called", "Sin clase"),
    # The viewer
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
    "previous_abnormal_label": Text("Abnormal", "Anormal"),
    "next_abnormal_label": Text("Abnormal", "Anormal"),
    "next_disagreement_label": Text("Disagreement", "Discrepancia"),
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
        "{start} to {stop} · {speed} mm/s, 10 mm/mV (96 px an inch) · drag to move, Ctrl and "
        "the wheel to zoom.",
        "{start} a {stop} · {speed} mm/s, 10 mm/mV (96 px por pulgada) · arrastre para mover, "
        "Ctrl y la rueda para acercar.",
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
    "unsure_beat": Text("No class reaches the threshold.", "Ninguna clase alcanza el umbral."),
    "beat_rr": Text("RR interval before it: {rr} ms", "Intervalo RR previo: {rr} ms"),
    "first_beat": Text("First beat of the recording", "Primer latido del registro"),
    "beat_after_gap": Text("First beat after a gap", "Primer latido tras un hueco"),
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
    "gradcam_views": Text(
        "This model sees {n} views of the beat at once, and the map is of all of them together: "
        "its times are exact only for the first view, the spectrogram above. In a view of another "
        "length the same column is another time.",
        "Este modelo ve {n} vistas del latido a la vez, y el mapa es de todas juntas: sus tiempos "
        "son exactos solo para la primera vista, el espectrograma de arriba. En una vista de otra "
        "duración la misma columna es otro tiempo.",
    ),
    "gradcam_empty": Text(
        "Nothing in this image speaks for this class.",
        "Nada en esta imagen habla a favor de esta clase.",
    ),
    "beat_alt": Text(
        "Signal, spectrogram and Grad-CAM of the beat, on one time axis",
        "Señal, espectrograma y Grad-CAM del latido, en el mismo eje de tiempo",
    ),
    "beat_alt_views": Text(
        "Signal, spectrogram and Grad-CAM of the beat; the times of Grad-CAM are exact only for "
        "the first of the views that the model sees",
        "Señal, espectrograma y Grad-CAM del latido; los tiempos de Grad-CAM son exactos solo para "
        "la primera de las vistas que ve el modelo",
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
        "Dos o más latidos seguidos de S o de V, los más largos primero. Elija una fila para "
        "verla.",
    ),
    "start": Text("Start", "Inicio"),
    "rate": Text("Rate, bpm", "Frecuencia, lpm"),
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
    # The technical report
    "environment": Text("Run", "Ejecución"),
    "environment_base": Text("full protocol", "protocolo completo"),
    "environment_mitdb_to_svdb": Text("mitdb to svdb", "de mitdb a svdb"),
    "environment_source": Text("the earlier system's recipe", "receta del sistema anterior"),
    "environment_source_records": Text(
        "records of the earlier system", "registros del sistema anterior"
    ),
    "environment_quick": Text("quick run", "ejecución rápida"),
    "environment_demo": Text("simulated recordings", "registros simulados"),
    "synthetic_run": Text(
        "These results are of simulated recordings. They say nothing about hearts.",
        "Estos resultados son de registros simulados. No dicen nada sobre corazones.",
    ),
    "no_reports": Text(
        "No run has left results here yet. `kedro run --env=quick` makes some in minutes, and "
        "`kedro run` all of them; start the app in the project's folder, or say where its data are "
        "with `--data`.",
        "Ninguna ejecución ha dejado resultados aquí todavía. `kedro run --env=quick` genera "
        "algunos en minutos, y `kedro run` todos; inicie la aplicación en la carpeta del proyecto, "
        "o indique dónde están sus datos con `--data`.",
    ),
    "model_in_use": Text("The model in use", "El modelo en uso"),
    "model_card": Text("Model card", "Ficha del modelo (en inglés)"),
    "fact": Text("Property", "Propiedad"),
    "value": Text("Value", "Valor"),
    "yes": Text("yes", "sí"),
    "no": Text("no", "no"),
    "fact_network": Text("Network (timm)", "Red (timm)"),
    "fact_parameters": Text("Parameters", "Parámetros"),
    "fact_image": Text("Image", "Imagen"),
    "channels": Text("{n} channel(s)", "{n} canal(es)"),
    "fact_window": Text("Window", "Ventana"),
    "window_value": Text(
        "{s} s around the R peak, at {fs} Hz", "{s} s alrededor del pico R, a {fs} Hz"
    ),
    "fact_stft": Text("Short-time Fourier transform", "Transformada de Fourier de tiempo corto"),
    "stft_value": Text(
        "segments of {nperseg} samples that overlap by {noverlap}, up to {limit} Hz",
        "segmentos de {nperseg} muestras con solape de {noverlap}, hasta {limit} Hz",
    ),
    "fact_rr": Text("Sees RR intervals", "Ve los intervalos RR"),
    "fact_val": Text("Macro F1 on val", "F1 macro en val"),
    "fact_fingerprint": Text("Fingerprint of the training", "Huella del entrenamiento"),
    "fact_sha256": Text("SHA-256 of the weights", "SHA-256 de los pesos"),
    "data_title": Text("Data and splits", "Datos y particiones"),
    "data_text": Text(
        "Two public databases with every beat annotated: **MIT-BIH Arrhythmia** (mitdb: 48 "
        "half-hour records of 47 people, 360 Hz) and **MIT-BIH Supraventricular Arrhythmia** "
        "(svdb: 78 half-hour records, 128 Hz). Annotation symbols are mapped to the five AAMI "
        "classes: N normal, S supraventricular ectopic, V ventricular ectopic, F fusion of N and "
        "V, Q paced or unclassifiable.\n\n"
        "Splits are **by patient**: no patient stands in two of train, val and test. mitdb's DS1 "
        "trains and DS2 tests (de Chazal 2004); svdb is split by record. A run in which a patient "
        "would stand in two splits stops.",
        "Dos bases de datos públicas con cada latido anotado: **MIT-BIH Arritmia** (mitdb: 48 "
        "registros de media hora de 47 personas, 360 Hz) y **MIT-BIH Arritmia supraventricular** "
        "(svdb: 78 registros de media hora, 128 Hz). Los símbolos de las anotaciones se asignan a "
        "las cinco clases de la AAMI: N normal, S ectópico supraventricular, V ectópico "
        "ventricular, F fusión de N y V, Q estimulado o inclasificable.\n\n"
        "Las particiones son **por paciente**: ningún paciente está en dos de train, val y test. "
        "El DS1 de mitdb entrena y el DS2 evalúa (de Chazal 2004); svdb se divide por registro. "
        "Una ejecución en la que un paciente quedara en dos particiones se detiene.",
    ),
    "class_counts": Text(
        "Reference beats by class and database (log scale)",
        "Latidos de referencia por clase y base de datos (escala logarítmica)",
    ),
    "split": Text("Split", "Partición"),
    "records": Text("Records", "Registros"),
    "split_caption": Text(
        "Beats of the splits that are scored, protocol {protocol}. Test is scored once a run and "
        "chooses nothing.",
        "Latidos de las particiones que se evalúan, protocolo {protocol}. Test se evalúa una vez "
        "por ejecución y no elige nada.",
    ),
    "method_title": Text("Method", "Método"),
    "method": Text(
        "1. **Signal**: one lead, MLII where a record has it, resampled to 360 Hz with a polyphase "
        "filter.\n"
        "2. **Beats**: in training the reference's R peaks; in a new recording those that a "
        "detector finds.\n"
        "3. **Window**: 2.5 s around each R peak, reflected at the recording's ends.\n"
        "4. **Spectrogram**: logarithm of the magnitude of the short-time Fourier transform, "
        "clipped to its percentiles 1 and 99 and scaled to an image.\n"
        "5. **Network**: a convolutional network, with cross-entropy or a class-balanced focal "
        "loss; rare classes are drawn more often, and class F has synthetic examples (SMOTE) in "
        "train alone.\n"
        "6. **Explanation**: Grad-CAM (Selvaraju et al. 2017).\n\n"
        "Intervals are 95 % percentile bootstraps over patients, never over beats.",
        "1. **Señal**: una derivación, MLII cuando el registro la tiene, remuestreada a 360 Hz con "
        "un filtro polifásico.\n"
        "2. **Latidos**: al entrenar, los picos R de la referencia; en un registro nuevo, los que "
        "encuentra un detector.\n"
        "3. **Ventana**: 2,5 s alrededor de cada pico R, reflejada en los extremos del registro.\n"
        "4. **Espectrograma**: logaritmo de la magnitud de la transformada de Fourier de tiempo "
        "corto, recortado a sus percentiles 1 y 99 y escalado a una imagen.\n"
        "5. **Red**: una red convolucional, con entropía cruzada o pérdida focal equilibrada por "
        "clase; las clases raras se muestrean más, y la clase F tiene ejemplos sintéticos (SMOTE) "
        "solo en train.\n"
        "6. **Explicación**: Grad-CAM (Selvaraju et al. 2017).\n\n"
        "Los intervalos son bootstraps percentiles al 95 % sobre pacientes, nunca sobre latidos.",
    ),
    "results_title": Text("Results on test", "Resultados en test"),
    "measured": Text("Measured", "Medido"),
    "results_caption": Text("{environment}, run of {version}", "{environment}, del {version}"),
    "model": Text("Model", "Modelo"),
    "macro_f1": Text("Macro F1", "F1 macro"),
    "macro_f1_val": Text("Macro F1, val", "F1 macro, val"),
    "macro_f1_test": Text("Macro F1, test", "F1 macro, test"),
    "accuracy": Text("Accuracy", "Exactitud"),
    "precision": Text("Precision", "Precisión"),
    "recall": Text("Recall", "Sensibilidad"),
    "roc_auc": Text("ROC area", "Área ROC"),
    "intervals_caption": Text(
        "Scores on test, with 95 % intervals over patients: how they would vary with other "
        "patients. Where one patient holds most of a class, the interval is wide.",
        "Resultados en test, con intervalos del 95 % sobre pacientes: cuánto variarían con otros "
        "pacientes. Si un paciente tiene la mayor parte de una clase, el intervalo es amplio.",
    ),
    "confusion_title": Text("Confusion matrix", "Matriz de confusión"),
    "confusion_caption": Text(
        "A row is a true class; percentages are of the row, so the diagonal is the recall.",
        "Cada fila es una clase verdadera; los porcentajes son de la fila, así que la diagonal es "
        "la sensibilidad.",
    ),
    "axis_true": Text("true class", "clase verdadera"),
    "axis_called": Text("called", "clase dada"),
    "by_class_title": Text("By class", "Por clase"),
    "calibration_title": Text("Calibration", "Calibración"),
    "calibration_before": Text("as given", "sin ajustar"),
    "calibration_after": Text("after temperature scaling", "con temperatura ajustada"),
    "calibration_caption": Text(
        "Expected calibration error {before}, with a temperature of {temperature} fitted on val "
        "{after}. On the dotted line probabilities are what comes true.",
        "Error de calibración esperado {before}; con una temperatura de {temperature} ajustada en "
        "val, {after}. En la línea de puntos las probabilidades se cumplen.",
    ),
    "no_calibration": Text(
        "This run measured no calibration. `kedro run --pipelines=reporting` does.",
        "Esta ejecución no midió la calibración. `kedro run --pipelines=reporting` la mide.",
    ),
    "axis_confidence": Text("mean probability", "probabilidad media"),
    "axis_accuracy": Text("share that is right", "proporción acertada"),
    "robustness_title": Text("Under noise", "Con ruido"),
    "robustness_caption": Text(
        "Noise stress test: macro F1 of the same beats at each signal-to-noise ratio; dotted: "
        "without noise.",
        "Prueba de estrés con ruido: F1 macro de los mismos latidos en cada relación señal-ruido; "
        "punteado: sin ruido.",
    ),
    "no_robustness": Text(
        "No noise stress test was run. `kedro run --pipelines=robustness` does, with the noise "
        "records of nstdb.",
        "No se hizo la prueba con ruido. `kedro run --pipelines=robustness` la hace, con los "
        "registros de ruido de nstdb.",
    ),
    "axis_snr": Text("signal-to-noise ratio, dB", "relación señal-ruido, dB"),
    "tracked_title": Text("Tracked trainings", "Entrenamientos registrados"),
    "no_tracked": Text(
        "This page lists the trainings that MLflow tracks in a file; there are none at {uri}. "
        "Every `kedro run` is tracked.",
        "Esta página enumera los entrenamientos que MLflow registra en un archivo; no hay ninguno "
        "en {uri}. Cada `kedro run` queda registrado.",
    ),
    "tracked_caption": Text(
        "From MLflow; `mlflow ui --backend-store-uri {uri}` shows curves, parameters and figures.",
        "De MLflow; `mlflow ui --backend-store-uri {uri}` muestra curvas, parámetros y figuras.",
    ),
    "started": Text("Started (UTC)", "Inicio (UTC)"),
    "status": Text("Status", "Estado"),
    "status_FINISHED": Text("finished", "terminado"),
    "status_FAILED": Text("failed", "fallido"),
    "status_RUNNING": Text("running", "en curso"),
    "status_KILLED": Text("killed", "interrumpido"),
    "status_SCHEDULED": Text("scheduled", "programado"),
    "experiments_title": Text(
        "Experiments with the recipe", "Experimentos con la receta (en inglés)"
    ),
    "limits_title": Text("Limits and ethics", "Límites y ética"),
    "limits": Text(
        "* For research and teaching. Not a medical device; no claim of diagnostic accuracy is "
        "made.\n"
        "* mitdb is 47 people, recorded in Boston from 1975 to 1979; svdb is 78 records, each "
        "counted as a person. What is learnt from them need not hold for other people, devices or "
        "leads.\n"
        "* Few patients carry the rare classes: of DS2's 1,837 S beats 1,382 are in record 232, of "
        "its 388 F beats 362 are in record 213. A score of S or F is close to a score of one "
        "patient.\n"
        "* Scores are of beats at the reference's R peaks; a detector's errors come on top.\n"
        "* Figures of 99 % in the literature come from splits by beat, in which a network has seen "
        "its test patients.\n"
        "* Grad-CAM shows where a network looked, and proves nothing about why.\n"
        "* Data: Open Data Commons Attribution 1.0. Cite mitdb (doi:10.13026/C2F305; Moody and "
        "Mark 2001), svdb (doi:10.13026/C2V30W; Greenwald 1990) and Goldberger et al. 2000.",
        "* Para investigación y docencia. No es un dispositivo médico; no se afirma ninguna "
        "exactitud diagnóstica.\n"
        "* mitdb son 47 personas, registradas en Boston entre 1975 y 1979; svdb son 78 registros, "
        "cada uno contado como una persona. Lo aprendido de ellos puede no valer para otras "
        "personas, equipos o derivaciones.\n"
        "* Pocos pacientes tienen las clases raras: de los 1837 latidos S de DS2, 1382 están en el "
        "registro 232; de sus 388 latidos F, 362 están en el 213. Un resultado en S o F es casi el "
        "de un solo paciente.\n"
        "* Los resultados son de latidos en los picos R de la referencia; los errores de un "
        "detector se suman a ellos.\n"
        "* Las cifras del 99 % en la literatura vienen de particiones por latido, en las que la "
        "red ya ha visto a sus pacientes de prueba.\n"
        "* Grad-CAM muestra dónde miró una red, y no demuestra por qué.\n"
        "* Datos: Open Data Commons Attribution 1.0. Cite mitdb (doi:10.13026/C2F305; Moody y Mark "
        "2001), svdb (doi:10.13026/C2V30W; Greenwald 1990) y Goldberger et al. 2000.",
    ),
}
