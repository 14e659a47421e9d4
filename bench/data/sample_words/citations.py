"""Words for papers and their references (LaMP-1): eight areas of three topics each, with the terms of each topic."""

from __future__ import annotations

from bench.data.sample_words import phrases

# area phrases fit every topic of the area: a title made of them alone does not tell which topic it is about
AREAS: dict[str, tuple[str, ...]] = {
    "language": phrases("Language Technology|Natural Language Processing|Text Understanding|Language Engineering"),
    "vision": phrases("Visual Computing|Image Understanding|Computer Vision|Visual Recognition"),
    "data": phrases("Data Management|Database Systems|Large Data Platforms|Data Engineering"),
    "networks": phrases("Networked Systems|Communication Networks|Distributed Networking|Internet Services"),
    "robots": phrases("Robotics|Autonomous Machines|Robot Learning|Intelligent Robots"),
    "security": phrases("Computer Security|Secure Systems|Trustworthy Computing|Information Protection"),
    "people": phrases("Human-Computer Interaction|Interface Design|User Experience|Interactive Systems"),
    "web": phrases("Information Access|Web Intelligence|Online Platforms|Web Science"),
}
TOPICS: dict[str, dict[str, tuple[str, ...]]] = {
    "language": {
        "machine translation": phrases(
            "Machine Translation|Bilingual Lexicons|Post-Editing|Parallel Corpora|Back-Translation|Word Alignment|"
            "Multilingual Decoding|Cross-Lingual Transfer"
        ),
        "dialogue systems": phrases(
            "Dialogue Systems|Turn Taking|Chatbots|Slot Filling|Conversational Agents|Intent Detection|Dialogue State "
            "Tracking|Spoken Assistants"
        ),
        "text summarization": phrases(
            "Text Summarization|Sentence Compression|Abstractive Summaries|Headline Extraction|Key Point Digests|"
            "Salience Ranking|Meeting Summaries|Summary Faithfulness"
        ),
    },
    "vision": {
        "object detection": phrases(
            "Object Detection|Bounding Boxes|Region Proposals|Pedestrian Detection|Anchor Boxes|Small Object "
            "Localization|Open-World Detectors|Traffic Sign Detection"
        ),
        "image synthesis": phrases(
            "Image Synthesis|Texture Generation|Image Inpainting|Style Transfer|Diffusion Sampling|Super-Resolution|"
            "Sketch Colorization|Generative Adversarial Networks"
        ),
        "medical imaging": phrases(
            "Medical Image Segmentation|Tumor Delineation|Retinal Scans|Magnetic Resonance Imaging|Chest Radiographs|"
            "Organ Contours|Ultrasound Enhancement|Lesion Detection"
        ),
    },
    "data": {
        "query optimization": phrases(
            "Query Optimization|Join Ordering|Cardinality Estimation|Cost Models|Query Plans|Index Selection|"
            "Materialized Views|Predicate Pushdown"
        ),
        "data cleaning": phrases(
            "Data Cleaning|Entity Resolution|Missing Values|Duplicate Records|Schema Matching|Error Repair|Outlier "
            "Removal|Record Linkage"
        ),
        "stream processing": phrases(
            "Stream Processing|Windowed Aggregation|Event Ordering|Backpressure Handling|Sliding Windows|Stream Joins|"
            "Watermark Policies|Continuous Queries"
        ),
    },
    "networks": {
        "congestion control": phrases(
            "Congestion Control|Packet Pacing|Queue Management|Bottleneck Fairness|Rate Adaptation|Transport Protocols|"
            "Bandwidth Probing|Loss Recovery"
        ),
        "sensor networks": phrases(
            "Sensor Networks|Energy Harvesting Nodes|Duty Cycling|Sensor Placement|Multi-Hop Gateways|Wireless Motes|"
            "Sensor Calibration|Low-Power Radios"
        ),
        "edge caching": phrases(
            "Edge Caching|Content Delivery|Cache Replacement|Prefetching Policies|Video Caches|Popularity Prediction|"
            "Cooperative Caches|Cache Placement"
        ),
    },
    "robots": {
        "motion planning": phrases(
            "Motion Planning|Collision Avoidance|Trajectory Smoothing|Sampling-Based Planners|Path Search|Kinodynamic "
            "Planning|Roadmap Construction|Obstacle Fields"
        ),
        "robot grasping": phrases(
            "Robot Grasping|Tactile Fingers|Bin Picking|Grasp Stability|Soft Grippers|Dexterous Hands|Contact Forces|"
            "Suction Grippers"
        ),
        "swarm robotics": phrases(
            "Swarm Robotics|Drone Flocks|Collective Foraging|Formation Control|Swarm Consensus|Self-Assembling Robots|"
            "Robot Collectives|Decentralized Exploration"
        ),
    },
    "security": {
        "malware analysis": phrases(
            "Malware Analysis|Ransomware Families|Binary Lifting|Sandbox Evasion|Botnet Tracking|Packed Executables|"
            "Malware Signatures|Malicious Macros"
        ),
        "cryptography": phrases(
            "Applied Cryptography|Homomorphic Encryption|Key Exchange|Lattice Signatures|Zero-Knowledge Proofs|"
            "Threshold Encryption|Elliptic Curves|Post-Quantum Schemes"
        ),
        "privacy": phrases(
            "Differential Privacy|Membership Inference|Data Anonymization|Privacy Auditing|Location Obfuscation|"
            "Privacy Budgets|Synthetic Releases|Consent Records"
        ),
    },
    "people": {
        "eye tracking": phrases(
            "Eye Tracking|Gaze Estimation|Fixation Maps|Pupil Dilation|Gaze Pointing|Saccade Detection|Reading Gaze|"
            "Blink Patterns"
        ),
        "accessibility": phrases(
            "Screen Readers|Accessible Interfaces|Captioning Tools|Braille Displays|Assistive Switches|Sign Language "
            "Input|Motor Impairments|Low-Vision Magnifiers"
        ),
        "virtual reality": phrases(
            "Virtual Reality|Headset Comfort|Immersive Presence|Motion Sickness|Redirected Walking|Virtual Avatars|"
            "Hand Controllers|Immersive Training"
        ),
    },
    "web": {
        "recommendation": phrases(
            "Recommender Systems|Collaborative Filtering|Cold-Start Items|Matrix Factorization|Session Recommendation|"
            "User Embeddings|Rating Prediction|Playlist Continuation"
        ),
        "web search": phrases(
            "Web Search|Query Suggestions|Learning to Rank|Click Models|Search Snippets|Passage Retrieval|Inverted "
            "Indexes|Relevance Judgments"
        ),
        "social networks": phrases(
            "Social Network Analysis|Community Detection|Influence Cascades|Link Prediction|Rumor Spreading|Friendship "
            "Graphs|Echo Chambers|Follower Counts"
        ),
    },
}

# {term} is filled with a topic's term; {setting} never names a topic
TITLES = (
    "Robust {term} under {setting}",
    "A Fresh Look at {term} under {setting}",
    "Scaling {term} to {setting}",
    "Lessons from {term} with {setting}",
    "{term}: New Results for {setting}",
    "Rethinking {term} for {setting}",
    "Practical {term} in the Presence of {setting}",
    "Measuring {term} across {setting}",
    "What Makes {term} Work with {setting}",
    "Simple Baselines for {term} with {setting}",
    "{term} beyond {setting}",
    "Understanding the Limits of {term} for {setting}",
)
SETTINGS = phrases(
    "Limited Supervision|Noisy Labels|Tight Budgets|Heavy Workloads|Small Teams|Changing Conditions|Unreliable "
    "Hardware|Sparse Feedback|Long Deployments|Rare Events|Mixed Evidence|Slow Networks|Shared Resources|Uncertain "
    "Goals|Weak Signals|Seasonal Drift|Partial Observations|Many Stakeholders|Scarce Annotations|Frequent Updates|"
    "Strict Deadlines|Modest Hardware|Real-World Constraints|Open Benchmarks"
)
ABSTRACTS = (
    "We study {term} in the presence of {setting}. Experiments with {second} confirm the idea.",
    "Work on {term} often ignores {setting}. We close this gap and report results for {second}.",
    "This paper revisits {term} and {second}. Our method copes with {setting} and stays simple.",
    "We ask what {setting} can mean for {term}. A field test covers {second} as well.",
    "A new approach to {term} is described. It builds on {second} and tolerates {setting}.",
    "We report three years of experience with {term}. The hardest part was {setting}, followed by {second}.",
)
WIDE_QUERIES = (
    "Open Problems in {area} under {setting}",
    "Ten Years of {area}: Coping with {setting}",
    "A Roadmap for {area} with {setting}",
    "Evaluation Practice in {area} with {setting}",
    "New Foundations of {area} for {setting}",
    "What {area} Can Learn from {setting}",
    "Reproducible {area} in the Presence of {setting}",
    "Benchmarks for {area} under {setting}",
)
BRIDGE_QUERIES = (
    "{first} Meets {second}: Shared Methods",
    "From {first} to {second} and Back",
    "Combining {first} with {second} under {setting}",
    "Common Ground between {first} and {second}",
    "{first} and {second} with {setting}",
)
